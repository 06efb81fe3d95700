//! What stands where in SMB 2 messages (MS-SMB2 section 2.2). Offsets count from the start of
//! the header, as the protocol's own do.

/// Length of the header (section 2.2.1).
pub(super) const HEADER: usize = 64;

/// First bytes of a message by generation.
pub(super) const MAGIC_2: [u8; 4] = *b"\xfeSMB";
pub(super) const MAGIC_1: [u8; 4] = *b"\xffSMB";
pub(super) const MAGIC_ENCRYPTED: [u8; 4] = *b"\xfdSMB";

/// SMB 1: the command that a negotiation begins with (MS-SMB section 2.2.4.5).
pub(super) const NEGOTIATE_1: u8 = 0x72;

const TREE_CONNECT: u16 = 3;
const CREATE: u16 = 5;
const CLOSE: u16 = 6;
const READ: u16 = 8;
const WRITE: u16 = 9;
const SET_INFO: u16 = 17;

const FLAG_RESPONSE: u32 = 1;

const STATUS_SUCCESS: u32 = 0;
/// More will follow when the work is done (section 3.3.4.2).
const STATUS_PENDING: u32 = 0x103;
const STATUS_END_OF_FILE: u32 = 0xc000_0011;

const SHARE_OF_PIPES: u8 = 2;
const ATTRIBUTE_DIRECTORY: u32 = 0x10;

/// SET_INFO of a file, and of that its length (sections 2.2.39, MS-FSCC 2.4.14).
const INFO_FILE: u8 = 1;
const CLASS_END_OF_FILE: u8 = 20;

/// Bytes of a CREATE request that are read: room for a path of 2,000 characters; Windows has
/// programs open 260.
const MAX_CREATE: usize = 4 << 10;

/// Longest name of a file that is kept, in UTF-16 units: no file system has longer ones.
const MAX_NAME: usize = 255;

/// An open file, as the server named it.
pub(super) type FileId = [u8; 16];

/// "The file of the request before this one" (section 3.2.4.1.4).
pub(super) const SAME_FILE: FileId = [0xff; 16];

/// A header, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    status: u32,
    command: u16,
    pub(super) response: bool,
    /// Distance to the next message of a compound; 0: this is the last.
    pub(super) next: usize,
    pub(super) message: u64,
    pub(super) tree: u32,
}

/// A message that is of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// A share was joined.
    Tree { pipes: bool },
    /// A file is to be opened.
    Open { name: Option<String> },
    /// A file was opened; `None`: that failed, or it is a folder.
    Opened(Option<Opened>),
    /// Bytes are asked for.
    Read {
        file: FileId,
        offset: u64,
        length: u64,
    },
    /// Bytes come.
    Content { at: usize, length: u64 },
    /// Nothing comes: the offset lies at the end of the file or beyond.
    PastEnd,
    /// Nothing comes: reading failed.
    ReadFailed,
    /// Bytes are to be written.
    Write {
        file: FileId,
        offset: u64,
        at: usize,
        length: u64,
    },
    /// A file gets another length.
    Resize { file: FileId, end: u64 },
    /// A file is to be closed.
    Close { file: FileId },
    /// It was.
    Closed,
}

/// A file that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) file: FileId,
    /// Its length in bytes.
    pub(super) end: u64,
}

impl Header {
    /// `None`: not a header.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let plausible = array_at(bytes, 0)? == MAGIC_2 && u16_at(bytes, 4)? as usize == HEADER;
        if !plausible {
            return None;
        }
        Some(Self {
            status: u32_at(bytes, 8)?,
            command: u16_at(bytes, 12)?,
            response: u32_at(bytes, 16)? & FLAG_RESPONSE != 0,
            next: u32_at(bytes, 20)? as usize,
            message: u64_at(bytes, 24)?,
            tree: u32_at(bytes, 36)?,
        })
    }

    /// How many bytes of the message, header included, tell all but content; `None`: it is of
    /// no interest.
    pub(super) const fn wanted(&self) -> Option<usize> {
        match (self.command, self.response) {
            _ if self.response && self.status == STATUS_PENDING => None,
            (CREATE, false) => Some(MAX_CREATE),
            (CREATE, true) => Some(HEADER + 80),
            (READ | WRITE, false) => Some(HEADER + 48),
            (READ, true) => Some(HEADER + 16),
            (CLOSE, false) => Some(HEADER + 24),
            (CLOSE, true) => Some(HEADER),
            (SET_INFO, false) => Some(HEADER + 40),
            (TREE_CONNECT, true) => Some(HEADER + 4),
            _ => None,
        }
    }

    /// Reads the message, of which `bytes` are as many as [`Self::wanted`] says, or all.
    /// `None`: malformed, or of no interest after all.
    pub(super) fn command(&self, bytes: &[u8]) -> Option<Command> {
        let succeeded = self.status == STATUS_SUCCESS;
        Some(match (self.command, self.response) {
            (TREE_CONNECT, true) if succeeded => {
                let kind = *bytes.get(HEADER + 2)?;
                Command::Tree {
                    pipes: kind == SHARE_OF_PIPES,
                }
            }
            (CREATE, false) => Command::Open {
                name: name_of_create(bytes),
            },
            (CREATE, true) if succeeded => {
                let attributes = u32_at(bytes, HEADER + 56)?;
                let opened = Opened {
                    file: array_at(bytes, HEADER + 64)?,
                    end: u64_at(bytes, HEADER + 48)?,
                };
                Command::Opened((attributes & ATTRIBUTE_DIRECTORY == 0).then_some(opened))
            }
            (CREATE, true) => Command::Opened(None),
            (READ, false) => Command::Read {
                file: array_at(bytes, HEADER + 16)?,
                offset: u64_at(bytes, HEADER + 8)?,
                length: u64::from(u32_at(bytes, HEADER + 4)?),
            },
            (READ, true) if succeeded => Command::Content {
                at: usize::from(*bytes.get(HEADER + 2)?),
                length: u64::from(u32_at(bytes, HEADER + 4)?),
            },
            (READ, true) if self.status == STATUS_END_OF_FILE => Command::PastEnd,
            (READ, true) => Command::ReadFailed,
            (WRITE, false) => Command::Write {
                file: array_at(bytes, HEADER + 16)?,
                offset: u64_at(bytes, HEADER + 8)?,
                at: usize::from(u16_at(bytes, HEADER + 2)?),
                length: u64::from(u32_at(bytes, HEADER + 4)?),
            },
            (SET_INFO, false)
                if bytes.get(HEADER + 2..HEADER + 4)? == [INFO_FILE, CLASS_END_OF_FILE] =>
            {
                Command::Resize {
                    file: array_at(bytes, HEADER + 16)?,
                    end: u64_at(bytes, usize::from(u16_at(bytes, HEADER + 8)?))?,
                }
            }
            (CLOSE, false) => Command::Close {
                file: array_at(bytes, HEADER + 8)?,
            },
            (CLOSE, true) => Command::Closed,
            _ => return None,
        })
    }
}

/// The last part of the path that a CREATE request names (section 2.2.13).
fn name_of_create(bytes: &[u8]) -> Option<String> {
    let start = usize::from(u16_at(bytes, HEADER + 44)?);
    let length = usize::from(u16_at(bytes, HEADER + 46)?);
    let path = bytes.get(start..start.checked_add(length)?)?;
    let (pairs, _) = path.as_chunks();
    let units: Vec<u16> = pairs.iter().copied().map(u16::from_le_bytes).collect();
    let is_separator = |unit: &u16| matches!(char::from_u32((*unit).into()), Some('\\' | '/'));
    let last = units.rsplit(is_separator).next().unwrap_or_default();
    let name: String = char::decode_utf16(last.iter().copied().take(MAX_NAME))
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    (!name.is_empty()).then_some(name)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}
