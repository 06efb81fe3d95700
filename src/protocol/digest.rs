//! Running digests of transferred content, only those that are asked for.

use md5::Md5;
use sha1::Sha1;
use sha2::Digest as _;
use sha2::Sha256;

use crate::protocol::Hashes;
use crate::protocol::Wants;

/// Digests in the making, fed piece by piece.
#[derive(Clone, Debug, Default)]
pub struct Digester {
    md5: Option<Md5>,
    sha1: Option<Sha1>,
    sha256: Option<Sha256>,
}

impl Digester {
    /// Digests of the algorithms that `wants` names; of none, when it names none.
    pub fn new(wants: &Wants) -> Self {
        Self {
            md5: wants.md5.then(Md5::new),
            sha1: wants.sha1.then(Sha1::new),
            sha256: wants.sha256.then(Sha256::new),
        }
    }

    /// Takes in the bytes that follow those taken in before.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
    }

    /// The digests of all bytes taken in.
    pub fn finish(self) -> Hashes {
        Hashes {
            md5: self.md5.map(|digest| digest.finalize().into()),
            sha1: self.sha1.map(|digest| digest.finalize().into()),
            sha256: self.sha256.map(|digest| digest.finalize().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_what_was_asked_for_whatever_the_pieces() {
        // "abc": the first example of RFC 1321 A.5 and of FIPS 180-4.
        let md5 = [
            0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0, 0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1,
            0x7f, 0x72,
        ];
        let sha1 = [
            0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50,
            0xc2, 0x6c, 0x9c, 0xd0, 0xd8, 0x9d,
        ];
        for pieces in [&["abc"][..], &["a", "", "bc"], &["a", "b", "c"]] {
            let mut all = Digester::new(&Wants::ALL);
            let mut one = Digester::new(&Wants {
                sha1: true,
                ..Wants::default()
            });
            for piece in pieces {
                all.update(piece.as_bytes());
                one.update(piece.as_bytes());
            }
            let hashes = all.finish();
            assert_eq!(hashes.md5, Some(md5));
            assert_eq!(hashes.sha1, Some(sha1));
            assert_eq!(
                hashes.sha256.map(|sha256| sha256[..4].to_vec()),
                Some(vec![0xba, 0x78, 0x16, 0xbf])
            );
            assert_eq!(
                one.finish(),
                Hashes {
                    sha1: Some(sha1),
                    ..Hashes::default()
                }
            );
        }
    }
}
