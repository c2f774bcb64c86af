//! The `zbackup` program: parse, set up, run, exit.

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_macros, clippy::disallowed_methods)]

use std::os::fd::AsFd;
use std::process::ExitCode;

use zbackup::cli::Cli;
use zbackup::command::{self, App};
use zbackup::interrupt::Interrupt;
use zbackup::terminal::{self, Terminal};

fn main() -> ExitCode {
    // Before any thread exists: the environment and the signal mask belong to the whole process.
    openzfs::scrub_environment();
    zbackup::terminal::show_panics();
    let cli = Cli::from_command_line();
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            terminal::tell(&format!("zbackup: {error}").into());
            ExitCode::FAILURE
        }
    }
}

/// Sets the process up and runs the verb; an error is one of setting up.
fn run(cli: &Cli) -> Result<u8, Box<dyn std::error::Error>> {
    zbackup::crypt::prepare_environment()?;
    let interrupt = Interrupt::install()?;
    let terminal = Terminal::new(cli.options.terminal());
    terminal.interrupted_by(interrupt.as_fd().try_clone_to_owned()?);
    zbackup::logging::start(&terminal)?;
    Ok(command::run(App {
        cli,
        terminal: &terminal,
        interrupt: &interrupt,
    }))
}
