//! `watchpost completions` and `watchpost man`.

use crate::cli::Cli;
use crate::cli::Ended;
use crate::cli::Failure;
use crate::cli::terminal;
use clap::Args;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  watchpost completions bash > /etc/bash_completion.d/watchpost")]
pub(super) struct CompletionArguments {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn print_completions(arguments: &CompletionArguments) -> Result<Ended, Failure> {
    let mut out = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "watchpost", &mut out);
    print(&out)
}

/// The page of the command, then those of its subcommands.
pub(super) fn print_manual() -> Result<Ended, Failure> {
    let mut out = Vec::new();
    let mut command = Cli::command();
    command.build();
    render(&command, &mut out).map_err(|e| Failure::Running(e.to_string()))?;
    print(&out)
}

fn render(command: &clap::Command, out: &mut Vec<u8>) -> std::io::Result<()> {
    Man::new(command.clone()).render(out)?;
    for subcommand in command.get_subcommands().filter(|c| c.get_name() != "help") {
        render(subcommand, out)?;
    }
    Ok(())
}

fn print(text: &[u8]) -> Result<Ended, Failure> {
    terminal::print(&String::from_utf8_lossy(text)).map_err(|e| Failure::Running(e.to_string()))?;
    Ok(Ended::Done)
}
