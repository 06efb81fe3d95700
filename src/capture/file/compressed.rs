//! Unpacking of gzip (RFC 1952) and zstd (RFC 8878) as streams.
//!
//! Done by single steps over slices, so that on damaged data everything that
//! was unpacked before the damage is kept.

use std::io;

use flate2::Decompress;
use flate2::FlushDecompress;
use flate2::Status;
use zstd::stream::raw::DParameter;
use zstd::stream::raw::Decoder;
use zstd::stream::raw::Operation;

use super::error::Fault;
use super::source::Stop;

/// A decompressor and where it stands.
pub(super) struct Decompressor {
    engine: Engine,
    /// Whether a member (gzip) or frame (zstd) has just ended, so that the file may end.
    between: bool,
}

enum Engine {
    Gzip(Decompress),
    /// With the number of bytes that the decoder wants next.
    Zstd(Decoder<'static>, usize),
}

/// What one step did.
pub(super) struct Step {
    /// Bytes of the input that are done with.
    pub(super) read: usize,
    /// Bytes of the output that were written; valid also on a fault.
    pub(super) written: usize,
    pub(super) outcome: Result<(), Fault>,
}

impl Decompressor {
    /// The one for a file that starts with `head`; `None` where that says nothing of
    /// compression.
    pub(super) fn detect(head: &[u8]) -> Result<Option<Self>, Stop> {
        let engine = match head {
            [0x1f, 0x8b, ..] => Engine::Gzip(Decompress::new_gzip(GZIP_WINDOW_LOG)),
            // RFC 8878, section 3.1.1: a frame; section 3.1.2: a frame to be skipped
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Engine::Zstd(zstd_decoder().map_err(Stop::Failed)?, ZSTD_START)
            }
            _ => return Ok(None),
        };
        Ok(Some(Self {
            engine,
            between: false,
        }))
    }

    /// Unpacks some of `input` into `out`. Nothing read and nothing written means that
    /// it cannot go on without more input.
    pub(super) fn step(&mut self, input: &[u8], out: &mut [u8]) -> Step {
        match &mut self.engine {
            Engine::Gzip(engine) => gzip_step(engine, &mut self.between, input, out),
            Engine::Zstd(engine, wanted) => {
                zstd_step(engine, wanted, &mut self.between, input, out)
            }
        }
    }

    /// Whether the file may end here.
    pub(super) const fn is_between(&self) -> bool {
        self.between
    }

    /// The format's name.
    pub(super) const fn name(&self) -> &'static str {
        match self.engine {
            Engine::Gzip(_) => GZIP,
            Engine::Zstd(..) => ZSTD,
        }
    }
}

fn gzip_step(engine: &mut Decompress, between: &mut bool, input: &[u8], out: &mut [u8]) -> Step {
    if *between {
        // as gzip does: zeros between or behind members are padding
        let zeros = input.iter().take_while(|byte| **byte == 0).count();
        if zeros > 0 || input.is_empty() {
            return Step {
                read: zeros,
                written: 0,
                outcome: Ok(()),
            };
        }
        engine.reset(true);
        *between = false;
    }
    let (read, written) = (engine.total_in(), engine.total_out());
    let status = engine.decompress(input, out, FlushDecompress::None);
    let outcome = match status {
        Ok(Status::StreamEnd) => {
            *between = true;
            Ok(())
        }
        Ok(Status::Ok | Status::BufError) => Ok(()),
        Err(error) => Err(Fault::Compression {
            format: GZIP,
            reason: error.message().unwrap_or("data error").to_owned(),
        }),
    };
    Step {
        read: progress(read, engine.total_in(), input.len()),
        written: progress(written, engine.total_out(), out.len()),
        outcome,
    }
}

/// How far a counter went, never beyond the slice that it counts in.
fn progress(before: u64, after: u64, limit: usize) -> usize {
    usize::try_from(after.saturating_sub(before)).map_or(limit, |count| count.min(limit))
}

fn zstd_decoder() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
    Ok(decoder)
}

fn zstd_step(
    engine: &mut Decoder<'static>,
    wanted: &mut usize,
    between: &mut bool,
    input: &[u8],
    out: &mut [u8],
) -> Step {
    // What a failing step had written is lost; given just what it asks for, the decoder
    // unpacks one block a step, and nothing but the damaged block is lost.
    let input = input.get(..*wanted).unwrap_or(input);
    match engine.run_on_buffers(input, out) {
        Ok(status) => {
            if status.bytes_read > 0 || status.bytes_written > 0 {
                *between = status.remaining == 0;
                *wanted = if status.remaining == 0 {
                    ZSTD_START
                } else {
                    status.remaining
                };
            }
            Step {
                read: status.bytes_read,
                written: status.bytes_written,
                outcome: Ok(()),
            }
        }
        Err(error) => Step {
            read: 0,
            written: 0,
            outcome: Err(Fault::Compression {
                format: ZSTD,
                reason: error.to_string(),
            }),
        },
    }
}

const GZIP: &str = "gzip";
const ZSTD: &str = "zstd";

/// 32 KiB, the only window that gzip has (RFC 1951, section 2).
const GZIP_WINDOW_LOG: u8 = 15;

/// 128 MiB: what `zstd -d` itself takes unasked, and the most that a file can make us hold.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Bytes with which the decoder can begin a frame (magic and frame header descriptor).
const ZSTD_START: usize = 5;
