//! zbackup in the middle of its work, without a terminal: what it tells is the event to wait for.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::program::{Run, program};

/// A started zbackup.
pub struct Running {
    child: Child,
    lines: BufReader<ChildStderr>,
    stderr: String,
}

impl Running {
    /// Starts zbackup; its messages are read only while somebody waits for one.
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(program())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("zbackup starts");
        let lines = BufReader::new(child.stderr.take().expect("its messages"));
        Self {
            child,
            lines,
            stderr: String::new(),
        }
    }

    /// Waits for a message with this in it.
    #[track_caller]
    pub fn says(mut self, text: &str) -> Self {
        loop {
            let mut line = String::new();
            let length = self.lines.read_line(&mut line).expect("a message");
            self.stderr += &line;
            assert!(length > 0, "never said {text:?}:\n{}", self.stderr);
            if line.contains(text) {
                return self;
            }
        }
    }

    /// Sends it a signal.
    pub fn signal(self, signal: Signal) -> Self {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal).expect("the signal is sent");
        self
    }

    /// Waits for its end. The exit code is -1 where a signal killed it.
    pub fn ends(mut self) -> Run {
        // Its messages are few: reading one stream after the other cannot block it.
        self.lines
            .read_to_string(&mut self.stderr)
            .expect("messages");
        let mut stdout = String::new();
        let mut output = self.child.stdout.take().expect("its output");
        output.read_to_string(&mut stdout).expect("output");
        let status = self.child.wait().expect("zbackup ends");
        println!("{stdout}{}[{status}]", self.stderr);
        Run {
            code: status.code().unwrap_or(-1),
            stdout,
            stderr: self.stderr,
        }
    }
}
