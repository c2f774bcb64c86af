//! zbackup in the middle of its work, without a terminal: what it tells is the event to wait for.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, Command, Stdio};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;

use super::process;
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
        Self::start_with_fault("", arguments)
    }

    /// The same, with something that goes wrong on the way, see `crates/openzfs/src/fault.rs`.
    pub fn start_with_fault(fault: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program());
        if !fault.is_empty() {
            command.env("ZBACKUP_FAULT", fault);
        }
        let mut child = command
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
            let stacks = || process::stacks(self.child.id());
            assert!(
                ready > 0,
                "it says nothing more:\n{}\n{}",
                self.stderr,
                stacks()
            );
        }
        let mut line = String::new();
        let length = self.lines.read_line(&mut line).expect("a message");
        self.stderr += &line;
        (length > 0).then_some(line)
    }

    /// Sends it a signal.
    pub fn signal(self, signal: Signal) -> Self {
        process::signal(self.child.id(), signal);
        self
    }

    /// Waits until a fault has stopped it.
    pub fn stops(self) -> Self {
        process::wait_until_stopped(self.child.id());
        self
    }

    /// Lets it go on until one of its threads waits in both of these functions of the kernel for
    /// somebody else, who has not come to it yet.
    #[track_caller]
    pub fn continues_until_in(self, functions: [&str; 2]) -> Self {
        let pid = self.child.id();
        let watching = process::Watching::ahead_of_all_but(pid);
        process::signal(pid, Signal::SIGCONT);
        watching.sees(functions);
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
            stderr: std::mem::take(&mut self.stderr),
        }
    }
}

impl Drop for Running {
    /// A failed test's pools are cleared away next.
    fn drop(&mut self) {
        process::end_of_failed_test(&mut self.child);
    }
}
