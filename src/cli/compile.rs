//! `watchpost intel compile`.

use crate::cli::Ended;
use crate::cli::Failure;
use crate::cli::files;
use crate::cli::intel;
use crate::cli::terminal;
use crate::store;
use clap::Args;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  watchpost intel compile bundle.json --output indicators.set
  watchpost replay capture.pcap --intel indicators.set")]
pub(super) struct Arguments {
    /// STIX bundles, MISP events and feeds, lists, folders of them; - is standard input
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// Where the compiled set goes; replaced in one step; - is standard output
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Print the figures as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, Failure> {
    let inputs: Vec<&Path> = arguments.sources.iter().map(PathBuf::as_path).collect();
    files::check_outputs(&[&arguments.output], &inputs)?;
    let loaded = intel::load(&arguments.sources)?;
    for source in &loaded.sources {
        if let Some(reason) = intel::gave_nothing(source) {
            return Err(Failure::Usage(reason));
        }
    }
    let Some((match_part, explain_part)) = loaded.set.parts() else {
        return Err(Failure::Usage(
            "the source is a compiled set already".into(),
        ));
    };
    let to_standard_output = arguments.output.as_os_str() == "-";
    let parts = [match_part, explain_part];
    let written = if to_standard_output {
        let mut stdout = std::io::stdout().lock();
        parts
            .iter()
            .try_for_each(|part| stdout.write_all(part))
            .and_then(|()| stdout.flush())
    } else {
        store::replace(&arguments.output, &parts)
    };
    written.map_err(|e| {
        Failure::Running(format!(
            "{}: cannot be written: {e}",
            arguments.output.display()
        ))
    })?;
    let (indicators, matching, explaining) = (
        loaded.set.indicators(),
        loaded.set.match_bytes(),
        loaded.set.explain_bytes(),
    );
    let refused: usize = loaded.sources.iter().map(|s| s.report.refused.len()).sum();
    let unseeable: usize = loaded
        .sources
        .iter()
        .map(|s| s.report.unseeable.len())
        .sum();
    let text = if arguments.json {
        json!({
            "indicators": indicators,
            "match_bytes": matching,
            "explain_bytes": explaining,
        })
        .to_string()
    } else {
        let each = matching as f64 / indicators.max(1) as f64;
        format!(
            "{indicators} indicators in {}: {matching} bytes to match ({each:.1} each), \
             {explaining} to explain; {refused} refused, {unseeable} cannot be seen on the wire",
            arguments.output.display()
        )
    };
    if to_standard_output {
        terminal::say("note", &text);
    } else {
        terminal::print(&format!("{text}\n")).map_err(|e| Failure::Running(e.to_string()))?;
    }
    if refused > 0 {
        terminal::say(
            "warning",
            &format!("refused objects: {refused}; 'watchpost intel check' says why"),
        );
    }
    Ok(Ended::Done)
}
