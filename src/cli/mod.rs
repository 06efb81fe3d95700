//! The command line: what was typed, made into calls of the floors below.
//!
//! Exit codes: 0 done, 1 failed while running, 2 used wrongly or a named
//! source gave nothing, 3 something matched and `--fail-on-match` was given.

mod block;
mod compile;
mod files;
mod intel;
mod manual;
mod replay;
mod rules;
mod terminal;

use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;
use std::fmt;
use std::process::ExitCode;

/// A network sensor that matches traffic against shared threat indicators.
#[derive(Debug, Parser)]
#[command(version, about, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Colours in what is printed for people
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    color: Colour,
}

const AFTER_HELP: &str = "\
Examples:
  watchpost replay capture.pcap --intel bundle.json
  watchpost intel check bundle.json list.txt
  watchpost intel compile feeds/ --output indicators.set
  watchpost replay captures/ --intel indicators.set --events events.jsonl --sightings sightings.json";

#[derive(Debug, Subcommand)]
enum Command {
    /// Match recorded captures against indicators
    Replay(replay::Arguments),
    /// Look into indicators: check, compile, try
    #[command(subcommand)]
    Intel(IntelCommand),
    /// See and change by hand what the firewall blocks; needs CAP_NET_ADMIN
    #[command(subcommand)]
    Block(block::BlockCommand),
    /// Print a completion script for a shell
    Completions(manual::CompletionArguments),
    /// Print the manual pages, in roff: `watchpost man | man -l -`
    Man,
}

#[derive(Debug, Subcommand)]
enum IntelCommand {
    /// Say what of the sources would load, and why the rest would not
    Check(intel::CheckArguments),
    /// Compile sources into one file that loads in milliseconds
    Compile(compile::Arguments),
    /// Evaluate a STIX pattern over observed data
    Try(intel::TryArguments),
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Colour {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Done,
    Matched,
}

/// Why a command could not do its work.
#[derive(Debug)]
enum Failure {
    /// Used wrongly, or a source gave nothing.
    Usage(String),
    /// Failed while running.
    Running(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(text) | Self::Running(text)) = self;
        f.write_str(text)
    }
}

/// Runs the command that was typed.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // help and version are no errors; a broken pipe while printing them is nobody's
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let ended = match cli.command {
        Command::Replay(arguments) => replay::run(arguments, cli.color),
        Command::Intel(IntelCommand::Check(arguments)) => intel::check(&arguments, cli.color),
        Command::Intel(IntelCommand::Compile(arguments)) => compile::run(&arguments),
        Command::Intel(IntelCommand::Try(arguments)) => intel::try_pattern(&arguments),
        Command::Block(command) => block::run(command),
        Command::Completions(arguments) => manual::print_completions(&arguments),
        Command::Man => manual::print_manual(),
    };
    match ended {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Matched) => ExitCode::from(3),
        Err(failure) => {
            terminal::say("error", &failure.to_string());
            ExitCode::from(match failure {
                Failure::Usage(_) => 2,
                Failure::Running(_) => 1,
            })
        }
    }
}
