//! Packet protection of Initial packets (RFC 9001 section 5, RFC 9369 section 3.3).

use std::fmt;

use aes::Aes128;
use aes::cipher::BlockCipherEncrypt;
use aes_gcm::AeadInOut;
use aes_gcm::Aes128Gcm;
use aes_gcm::KeyInit;
use hkdf::Hkdf;
use sha2::Sha256;

use crate::protocol::quic::packet::Initial;
use crate::protocol::quic::packet::Version;

/// The keys with which a client protects its Initial packets.
pub(super) struct Keys {
    packet: Aes128Gcm,
    nonce: [u8; NONCE],
    header: Aes128,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// The keys that follow from the destination of a client's first packet (RFC 9001
    /// section 5.2).
    pub(super) fn of_client(version: Version, destination: &[u8]) -> Option<Self> {
        let secrets = Secrets::of_client(version, destination)?;
        Some(Self {
            packet: Aes128Gcm::new_from_slice(&secrets.key).ok()?,
            nonce: secrets.nonce,
            header: Aes128::new_from_slice(&secrets.header).ok()?,
        })
    }

    /// Decrypts a packet's frames into `out` and gives its number; `None` when it does not
    /// authenticate. `largest` is the largest number seen before.
    pub(super) fn open(
        &self,
        initial: &Initial<'_>,
        largest: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Option<u64> {
        out.clear();
        let (header, protected) = initial.bytes.split_at_checked(initial.number_at)?;
        // RFC 9001 section 5.4.2: the sample lies as if the number had four bytes
        let sample = protected.get(MAX_NUMBER..MAX_NUMBER + SAMPLE)?;
        let [first_mask, number_mask @ ..] = self.mask(sample)?;
        let first = header.first()? ^ first_mask & 0x0f;
        let number_length = usize::from(first & 3) + 1;
        let header_length = header.len() + number_length;
        let (rest, tag) = initial.bytes.split_last_chunk::<TAG>()?;
        out.extend_from_slice(rest);
        let (header, frames) = out.split_at_mut_checked(header_length)?;

        *header.first_mut()? = first;
        let mut truncated = 0;
        for (place, mask) in header.iter_mut().skip(initial.number_at).zip(number_mask) {
            *place ^= mask;
            truncated = truncated << 8 | u64::from(*place);
        }
        let number = whole_number(truncated, number_length, largest);
        let mut nonce = self.nonce;
        for (place, byte) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
            *place ^= byte;
        }
        self.packet
            .decrypt_inout_detached(&nonce.into(), header, frames.into(), &(*tag).into())
            .ok()?;
        out.drain(..header_length);
        Some(number)
    }

    /// What a client does: protects `frames` behind `header`, which ends with the
    /// packet number.
    #[cfg(test)]
    pub(super) fn seal(&self, header: &[u8], number: u64, frames: &[u8]) -> Vec<u8> {
        let mut nonce = self.nonce;
        for (place, byte) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
            *place ^= byte;
        }
        let mut sealed = frames.to_vec();
        let tag = self
            .packet
            .encrypt_inout_detached(&nonce.into(), header, sealed.as_mut_slice().into())
            .unwrap();
        let mut packet = [header, &sealed, &tag].concat();
        let number_at = header.len() - (usize::from(header[0] & 3) + 1);
        let mask = self
            .mask(&packet[number_at + MAX_NUMBER..][..SAMPLE])
            .unwrap();
        packet[0] ^= mask[0] & 0x0f;
        for (byte, mask) in packet[number_at..header.len()].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
        }
        packet
    }

    /// RFC 9001 section 5.4.3: the first five bytes of the encrypted sample.
    fn mask(&self, sample: &[u8]) -> Option<[u8; 1 + MAX_NUMBER]> {
        let mut block: [u8; SAMPLE] = sample.try_into().ok()?;
        self.header.encrypt_block((&mut block).into());
        block.first_chunk().copied()
    }
}

/// What [`Keys`] are made of.
struct Secrets {
    key: [u8; KEY],
    nonce: [u8; NONCE],
    header: [u8; KEY],
}

impl Secrets {
    fn of_client(version: Version, destination: &[u8]) -> Option<Self> {
        let (salt, labels) = match version {
            Version::Draft29 => (&SALT_DRAFT_29, &LABELS_V1),
            Version::V1 => (&SALT_V1, &LABELS_V1),
            Version::V2 => (&SALT_V2, &LABELS_V2),
        };
        let initial = Hkdf::<Sha256>::new(Some(salt), destination);
        let client: [u8; 32] = expand(&initial, b"client in")?;
        let client = Hkdf::<Sha256>::from_prk(&client).ok()?;
        let [key, nonce, header] = labels;
        Some(Self {
            key: expand(&client, key)?,
            nonce: expand(&client, nonce)?,
            header: expand(&client, header)?,
        })
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
fn expand<const N: usize>(secret: &Hkdf<Sha256>, label: &[u8]) -> Option<[u8; N]> {
    let [high, low] = u16::try_from(N).ok()?.to_be_bytes();
    let label_length = u8::try_from(LABEL_PREFIX.len() + label.len()).ok()?;
    let mut out = [0; N];
    let info: [&[u8]; 4] = [&[high, low, label_length], LABEL_PREFIX, label, &[0]];
    secret.expand_multi_info(&info, &mut out).ok()?;
    Some(out)
}

/// The packet number of which the last `length` bytes were sent (RFC 9000 appendix A.3).
fn whole_number(truncated: u64, length: usize, largest: Option<u64>) -> u64 {
    let window = 1_u64 << (8 * length.min(MAX_NUMBER));
    let expected = largest.map_or(0, |largest| largest.saturating_add(1));
    let candidate = expected & !(window - 1) | truncated;
    if candidate.saturating_add(window / 2) <= expected && candidate < (1 << 62) - window {
        candidate + window
    } else if candidate > expected.saturating_add(window / 2) && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

/// Salt of drafts 29 to 32.
const SALT_DRAFT_29: [u8; 20] = [
    0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0,
    0x43, 0x90, 0xa8, 0x99,
];

/// Salt of RFC 9001 section 5.2.
const SALT_V1: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
    0xcc, 0xbb, 0x7f, 0x0a,
];

/// Salt of RFC 9369 section 3.3.1.
const SALT_V2: [u8; 20] = [
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb,
    0xf9, 0xbd, 0x2e, 0xd9,
];

/// Labels of key, nonce and header protection (RFC 9001 sections 5.1 and 5.4).
const LABELS_V1: [&[u8]; 3] = [b"quic key", b"quic iv", b"quic hp"];

/// The same labels of version 2 (RFC 9369 section 3.3.2).
const LABELS_V2: [&[u8]; 3] = [b"quicv2 key", b"quicv2 iv", b"quicv2 hp"];

/// What every label begins with (RFC 8446 section 7.1).
const LABEL_PREFIX: &[u8] = b"tls13 ";

/// Sizes in bytes of AES-128-GCM and of what it takes.
const KEY: usize = 16;
const NONCE: usize = 12;
const TAG: usize = 16;

/// Bytes of a packet that make the mask of its header.
const SAMPLE: usize = 16;

/// Longest packet number in bytes (RFC 9000 section 17.1).
const MAX_NUMBER: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 9001 appendix A.1, RFC 9369 appendix A.1.
    #[test]
    fn keys_follow_from_the_first_destination() {
        let destination = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
        for (version, key, nonce, header) in [
            (
                Version::V1,
                "1f369613dd76d5467730efcbe3b1a22d",
                "fa044b2f42a3fd3b46fb255c",
                "9f50449e04a0e810283a1e9933adedd2",
            ),
            (
                Version::V2,
                "8b1a0bc121284290a29e0971b5cd045d",
                "91f73e2351d8fa91660e909f",
                "45b95e15235d6f45a6b19cbcb0294ba9",
            ),
        ] {
            let secrets = Secrets::of_client(version, &destination).unwrap();
            assert_eq!(hex(&secrets.key), key);
            assert_eq!(hex(&secrets.nonce), nonce);
            assert_eq!(hex(&secrets.header), header);
        }
    }

    #[test]
    fn packet_numbers_are_completed_near_the_largest() {
        for (truncated, length, largest, number) in [
            // RFC 9000 appendix A.3
            (0x9b32, 2, Some(0xa82f_30ea), 0xa82f_9b32),
            (2, 4, None, 2),
            (0, 1, Some(0xff), 0x100),
            (0xff, 1, Some(0x100), 0xff),
            (0xffff_ffff, 4, None, 0xffff_ffff),
            (0xff, 1, Some(u64::MAX), u64::MAX),
        ] {
            assert_eq!(whole_number(truncated, length, largest), number);
        }
    }
}
