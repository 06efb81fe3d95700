//! Numbers in the bytes of an indicator set: little endian, bounds checked, never trusted.
//!
//! A set may come from a file that somebody else wrote. Whatever lies outside reads as
//! zero, which no table takes for an entry that matches.

/// The 32-bit number at `index` (counted in numbers, not bytes); zero outside.
pub(crate) fn u32_at(bytes: &[u8], index: usize) -> u32 {
    number_at(bytes, index).map_or(0, u32::from_le_bytes)
}

/// The 64-bit number at `index`; zero outside.
pub(crate) fn u64_at(bytes: &[u8], index: usize) -> u64 {
    number_at(bytes, index).map_or(0, u64::from_le_bytes)
}

/// The 128-bit number at `index`; zero outside.
pub(crate) fn u128_at(bytes: &[u8], index: usize) -> u128 {
    number_at(bytes, index).map_or(0, u128::from_le_bytes)
}

/// Writes 32-bit numbers one after the other.
pub(crate) fn put_u32s(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>) {
    out.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
}

#[inline]
fn number_at<const N: usize>(bytes: &[u8], index: usize) -> Option<[u8; N]> {
    let start = index.checked_mul(N)?;
    let end = start.checked_add(N)?;
    bytes.get(start..end)?.try_into().ok()
}
