//! The command line: what was typed, made into calls of the floors below.
//!
//! Exit codes: 0 done, 1 failed while running, 2 used wrongly or a named
//! source gave nothing, 3 something matched and `--fail-on-match` was given.

mod block;
mod compile;
mod config;
mod exchange;
mod explain;
mod files;
mod intel;
mod kind;
mod list;
mod manual;
mod replay;
mod rules;
mod run;
mod sensor;
mod sightings;
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
    /// Watch interfaces, with the exchanges of a configuration
    Run(run::Arguments),
    /// Look into indicators: check, compile, explain, list, try
    #[command(subcommand)]
    Intel(IntelCommand),
    /// Ask the exchanges, tell them, and see how they stand
    #[command(subcommand)]
    Exchange(ExchangeCommand),
    /// See what is told to exchanges, and call indicators false
    #[command(subcommand)]
    Sightings(SightingsCommand),
    /// Look into the configuration of a sensor
    #[command(subcommand)]
    Config(ConfigCommand),
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
    /// Say which indicators would match a value, and what policy would do
    Explain(explain::Arguments),
    /// List indicators
    List(list::Arguments),
    /// Evaluate a STIX pattern over observed data
    Try(intel::TryArguments),
}

#[derive(Debug, Subcommand)]
enum ExchangeCommand {
    /// Fetch what is new, and make it the set that matches
    Pull(exchange::PullArguments),
    /// Send the sightings that wait
    Push(exchange::PushArguments),
    /// Pull and push in one go, as `watchpost run` does
    Sync(exchange::SyncArguments),
    /// Say what every exchange gave, and what waits for it
    Status(exchange::StatusArguments),
}

#[derive(Debug, Subcommand)]
enum SightingsCommand {
    /// Show exactly what would leave, and to whom
    Preview(sightings::PreviewArguments),
    /// List what waits and what was told
    List(sightings::ListArguments),
    /// Print what waits as one STIX bundle
    Export(sightings::ExportArguments),
    /// Call an indicator false
    Refute(sightings::RefuteArguments),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say what a configuration means, and what of it cannot be used
    Check(config::CheckArguments),
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
        Command::Run(arguments) => run::run(&arguments, cli.color),
        Command::Intel(IntelCommand::Check(arguments)) => intel::check(&arguments, cli.color),
        Command::Intel(IntelCommand::Compile(arguments)) => compile::run(&arguments),
        Command::Intel(IntelCommand::Explain(arguments)) => explain::run(&arguments, cli.color),
        Command::Intel(IntelCommand::List(arguments)) => list::run(&arguments, cli.color),
        Command::Intel(IntelCommand::Try(arguments)) => intel::try_pattern(&arguments),
        Command::Exchange(ExchangeCommand::Pull(arguments)) => exchange::pull(&arguments),
        Command::Exchange(ExchangeCommand::Push(arguments)) => exchange::push(&arguments),
        Command::Exchange(ExchangeCommand::Sync(arguments)) => exchange::sync(arguments),
        Command::Exchange(ExchangeCommand::Status(arguments)) => {
            exchange::status(&arguments, cli.color)
        }
        Command::Sightings(SightingsCommand::Preview(arguments)) => sightings::preview(&arguments),
        Command::Sightings(SightingsCommand::List(arguments)) => sightings::list(&arguments),
        Command::Sightings(SightingsCommand::Export(arguments)) => sightings::export(&arguments),
        Command::Sightings(SightingsCommand::Refute(arguments)) => sightings::refute(&arguments),
        Command::Config(ConfigCommand::Check(arguments)) => config::check(&arguments),
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
