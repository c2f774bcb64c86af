//! The program under test.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::document;

/// How one run of zbackup ended.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The program's path.
pub fn program() -> String {
    std::env::var("ZBACKUP_BIN").expect("ZBACKUP_BIN names the program under test")
}

/// Runs zbackup without a terminal.
pub fn zbackup(arguments: &[&str]) -> Run {
    run(Command::new(program()).args(arguments), arguments)
}

/// The same, with something that goes wrong on the way, see `src/fault.rs`.
pub fn zbackup_with_fault(fault: &str, arguments: &[&str]) -> Run {
    let mut command = Command::new(program());
    run(
        command.args(arguments).env("ZBACKUP_FAULT", fault),
        arguments,
    )
}

fn run(command: &mut Command, arguments: &[&str]) -> Run {
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("zbackup starts");
    let run = Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("stdout is text"),
        stderr: String::from_utf8(output.stderr).expect("stderr is text"),
    };
    // Shown only where the test fails.
    println!(
        "$ zbackup {}\n{}{}[exit {}]",
        arguments.join(" "),
        run.stdout,
        run.stderr,
        run.code
    );
    run
}

impl Run {
    /// Insists on this exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "exit code\nstdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }

    /// The `--json` document, whose shape is checked.
    #[track_caller]
    pub fn json(&self) -> Value {
        let document = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout));
        document::check(&document, self.code);
        document
    }

    /// Insists that stderr or stdout says this.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let said = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(
            said,
            "nothing says {text:?}\nstdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self
    }
}
