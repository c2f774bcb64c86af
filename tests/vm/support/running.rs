//! zbackup in the middle of its work, without a terminal: what it tells is the event to wait for.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, Command, Stdio};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::program::{Run, program};

/// How long a run may go without a message or its end: more than anything here takes on a slow
/// machine.
const SILENCE_MILLISECONDS: u16 = 60_000;

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
    pub fn says(self, text: &str) -> Self {
        self.tells(text, |line| line.contains(text))
    }

    /// Waits until it tells that at least so much of its transfers is sent. Where they are fast, it
    /// leaves out lines.
    #[track_caller]
    pub fn sends(self, percent: u32) -> Self {
        self.tells(&format!("{percent} % of … sent"), |line| {
            let so_far = line.split_once(" % of ").map(|(so_far, _)| so_far.parse());
            matches!(so_far, Some(Ok(so_far)) if percent <= so_far)
        })
    }

    #[track_caller]
    fn tells(mut self, what: &str, is_it: impl Fn(&str) -> bool) -> Self {
        loop {
            let line = self.message();
            let line = line.unwrap_or_else(|| panic!("never told {what:?}:\n{}", self.stderr));
            if is_it(&line) {
                return self;
            }
        }
    }

    /// Its next message; none where it has ended. A run that hangs fails its test.
    #[track_caller]
    fn message(&mut self) -> Option<String> {
        if self.lines.buffer().is_empty() {
            let mut fds = [PollFd::new(self.lines.get_ref().as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, SILENCE_MILLISECONDS).expect("its messages are waited for");
            assert!(ready > 0, "it says nothing more:\n{}", self.stderr);
        }
        let mut line = String::new();
        let length = self.lines.read_line(&mut line).expect("a message");
        self.stderr += &line;
        (length > 0).then_some(line)
    }

    /// Sends it a signal.
    pub fn signal(self, signal: Signal) -> Self {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal).expect("the signal is sent");
        self
    }

    /// Waits for its end. The exit code is -1 where a signal killed it.
    #[track_caller]
    pub fn ends(mut self) -> Run {
        // Its messages are few: reading one stream after the other cannot block it.
        while self.message().is_some() {}
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
