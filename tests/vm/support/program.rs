//! The program under test.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::{document, sh};

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
    run_program(&mut Command::new(program()), arguments)
}

/// The same, with something that goes wrong on the way, see `crates/openzfs/src/fault.rs`.
pub fn zbackup_with_fault(fault: &str, arguments: &[&str]) -> Run {
    let mut command = Command::new(program());
    run_program(command.env("ZBACKUP_FAULT", fault), arguments)
}

/// Runs whatever program with these arguments and without a terminal.
pub fn run_program(command: &mut Command, arguments: &[&str]) -> Run {
    let output = command
        .args(arguments)
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

    /// The commands in backticks that it tells in a line behind these words, up to the end of their
    /// sentence.
    #[track_caller]
    pub fn advises(&self, words: &str) -> Vec<String> {
        let lines = self.stderr.lines().chain(self.stdout.lines());
        let mut advice = lines.filter_map(|line| Some(line.split_once(words)?.1));
        let advice = advice.next();
        let advice = advice.unwrap_or_else(|| panic!("nothing says {words:?}: {self:?}"));
        let sentence = advice.split("`. ").next().unwrap_or_default();
        let commands = sentence.split('`').skip(1).step_by(2);
        let commands: Vec<_> = commands.map(str::to_owned).collect();
        assert!(
            !commands.is_empty(),
            "no command behind {words:?}: {advice}"
        );
        commands
    }
}

/// Types these commands, word for word, as a shell takes them.
#[track_caller]
pub fn type_in(commands: &[String]) -> String {
    let said: Vec<_> = commands.iter().map(|command| sh(command)).collect();
    said.join("\n")
}
