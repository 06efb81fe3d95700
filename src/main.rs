//! The `watchpost` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    watchpost::cli::run()
}
