//! What can be odd about HTTP traffic.

use crate::protocol::Anomaly;

/// One kind of malformed or evasive traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::protocol) enum Oddity {
    /// A line ends with LF alone (RFC 9112 2.2).
    BareLf,
    /// A CR stands inside a line (RFC 9112 2.2).
    BareCr,
    /// A header goes on in a second line (RFC 9112 5.2).
    Fold,
    /// White space or control bytes where a header's name should be.
    HeaderName,
    /// A start line that servers and browsers read, but that the grammar forbids.
    StartLine,
    /// Bytes where a head should start.
    Junk,
    /// A head longer than is kept.
    HeadCap,
    /// A head that ended, or was interrupted, before its empty line.
    HeadCut,
    /// More than one Host header (RFC 9112 3.2).
    HostRepeated,
    /// The target and the Host header name different hosts (RFC 9112 3.2.2).
    HostConflict,
    /// A host with characters that no host has.
    HostMalformed,
    /// A Content-Length that is no number.
    Length,
    /// Content-Length headers that contradict each other (RFC 9112 6.3).
    LengthConflict,
    /// Content-Length beside Transfer-Encoding (RFC 9112 6.3).
    LengthAndChunked,
    /// A Transfer-Encoding other than one `chunked` in HTTP/1.1.
    TransferCoding,
    /// A chunk size that is no number, or is followed by what is no extension.
    ChunkSize,
    /// A body that ended before its announced end.
    BodyCut,
    /// A content coding that the sensor does not know.
    CodingUnknown,
    /// More codings stacked than are undone.
    CodingCap,
    /// Content that is not in the coding it claims.
    NotEncoded,
    /// Content that stops being in the coding it claims.
    CodingBroken,
    /// Content that expands beyond the cap.
    Expansion,
    /// Too much memory in use for decoding one body, or the bodies of one connection.
    DecoderMemory,
    /// More requests without a response than are remembered.
    PipelineCap,
    /// Bytes that were never seen made the framing unknown.
    Gap,
}

impl Oddity {
    /// Every kind, in the order of its number.
    const ALL: [Self; 25] = [
        Self::BareLf,
        Self::BareCr,
        Self::Fold,
        Self::HeaderName,
        Self::StartLine,
        Self::Junk,
        Self::HeadCap,
        Self::HeadCut,
        Self::HostRepeated,
        Self::HostConflict,
        Self::HostMalformed,
        Self::Length,
        Self::LengthConflict,
        Self::LengthAndChunked,
        Self::TransferCoding,
        Self::ChunkSize,
        Self::BodyCut,
        Self::CodingUnknown,
        Self::CodingCap,
        Self::NotEncoded,
        Self::CodingBroken,
        Self::Expansion,
        Self::DecoderMemory,
        Self::PipelineCap,
        Self::Gap,
    ];

    /// As the rest of the sensor counts it.
    pub(in crate::protocol) const fn anomaly(self) -> Anomaly {
        Anomaly(match self {
            Self::BareLf => "http.bare-lf",
            Self::BareCr => "http.bare-cr",
            Self::Fold => "http.folded-header",
            Self::HeaderName => "http.header-name",
            Self::StartLine => "http.start-line",
            Self::Junk => "http.junk",
            Self::HeadCap => "http.head-cap",
            Self::HeadCut => "http.head-cut",
            Self::HostRepeated => "http.host-repeated",
            Self::HostConflict => "http.host-conflict",
            Self::HostMalformed => "http.host-malformed",
            Self::Length => "http.content-length",
            Self::LengthConflict => "http.content-length-conflict",
            Self::LengthAndChunked => "http.length-and-chunked",
            Self::TransferCoding => "http.transfer-coding",
            Self::ChunkSize => "http.chunk-size",
            Self::BodyCut => "http.body-cut",
            Self::CodingUnknown => "http.content-coding-unknown",
            Self::CodingCap => "http.content-coding-cap",
            Self::NotEncoded => "http.content-not-encoded",
            Self::CodingBroken => "http.content-coding-broken",
            Self::Expansion => "http.expansion-cap",
            Self::DecoderMemory => "http.decoder-memory-cap",
            Self::PipelineCap => "http.pipeline-cap",
            Self::Gap => "http.gap",
        })
    }
}

/// The oddities of one head or body, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Oddities(u32);

impl Oddities {
    /// Adds one.
    pub(super) const fn note(&mut self, oddity: Oddity) {
        self.0 |= 1 << oddity as u8;
    }

    /// Each one that was noted, in the order of declaration.
    pub(super) fn iter(self) -> impl Iterator<Item = Oddity> {
        Oddity::ALL
            .into_iter()
            .filter(move |oddity| self.0 & (1 << *oddity as u8) != 0)
    }

    /// Whether none was noted, as is usual.
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_place_and_a_name_of_its_own() {
        let mut names = Vec::new();
        for (at, oddity) in Oddity::ALL.into_iter().enumerate() {
            assert_eq!(at, usize::from(oddity as u8));
            let mut set = Oddities::default();
            assert!(set.is_empty());
            set.note(oddity);
            set.note(oddity);
            assert_eq!(set.iter().collect::<Vec<_>>(), [oddity]);
            names.push(oddity.anomaly());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Oddity::ALL.len());
    }
}
