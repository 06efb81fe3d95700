//! The event file of a sensor that runs on.

use crate::cli::Failure;
use crate::cli::terminal;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

/// Lines written through to a file or to standard output.
pub(super) struct Events {
    path: PathBuf,
    writer: BufWriter<Box<dyn Write + Send>>,
    /// Lines that could not be written since the last that could.
    lost: u64,
}

impl Events {
    /// Opens what is appended to; - is standard output.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self {
            path: path.to_owned(),
            writer: BufWriter::new(append_to(path)?),
            lost: 0,
        })
    }

    /// Writes a line through to the file: whoever follows it waits for it. While the disk is full
    /// lines are lost, which is told when it begins and when it is over.
    pub(super) fn write(&mut self, line: &[u8]) {
        // what could not be written of the lines before goes first
        let written = self
            .writer
            .flush()
            .and_then(|()| self.writer.write_all(line))
            .and_then(|()| self.writer.flush());
        let path = self.path.display();
        match (written, self.lost) {
            (Ok(()), 0) => {}
            (Ok(()), lost) => {
                terminal::say(
                    "warning",
                    &format!("{path}: written again; events lost: {lost}"),
                );
                self.lost = 0;
            }
            (Err(error), lost) => {
                if lost == 0 {
                    terminal::say("warning", &format!("{path}: events are lost: {error}"));
                }
                self.lost += 1;
            }
        }
    }

    /// Says how many are lost for good.
    pub(super) fn finish(&mut self) {
        let _ = self.writer.flush();
        if self.lost > 0 {
            let path = self.path.display();
            terminal::say("warning", &format!("{path}: events lost: {}", self.lost));
        }
    }
}

/// A file that is appended to, or standard output.
fn append_to(path: &Path) -> Result<Box<dyn Write + Send>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdout()));
    }
    let file = File::options().append(true).create(true).open(path);
    let file =
        file.map_err(|e| Failure::Usage(format!("{}: cannot be written: {e}", path.display())))?;
    Ok(Box::new(file))
}
