//! Talking to the person at the terminal.

use crate::cli::Colour;
use crate::report::table::Order;
use crate::report::table::Style;
use crate::report::text::printable;
use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;
use std::io::IsTerminal;
use std::io::Write;

/// Width of reports that no terminal limits.
const PIPED_WIDTH: u16 = 140;

/// Rows of a table before "and more".
const ROWS: usize = 25;

/// Says one line on standard error: "warning: …".
pub(super) fn say(kind: &str, text: &str) {
    let mut stderr = std::io::stderr().lock();
    for line in text.lines() {
        // nobody is left to be told when standard error is gone
        let _ = writeln!(stderr, "{kind}: {}", printable(line));
    }
}

/// Prints a report to standard output. A reader that went away (`| head`) is no fault.
pub(super) fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// How tables are drawn on standard output.
pub(super) fn style(colour: Colour) -> Style {
    let terminal = std::io::stdout().is_terminal();
    let colour = match colour {
        Colour::Always => true,
        Colour::Never => false,
        // https://no-color.org: set and not empty
        Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    };
    let width = if terminal {
        terminal_width()
    } else {
        PIPED_WIDTH
    };
    Style {
        colour,
        width,
        rows: ROWS,
        order: Order::Severity,
    }
}

fn terminal_width() -> u16 {
    comfy_table::Table::new()
        .set_content_arrangement(comfy_table::ContentArrangement::Dynamic)
        .width()
        .unwrap_or(80)
}

/// A progress bar on standard error, if that is a terminal.
pub(super) fn progress(template: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
