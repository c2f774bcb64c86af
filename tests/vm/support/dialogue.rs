//! zbackup on a terminal, with somebody who reads and answers.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::process;
use super::program::program;

/// Longest wait for a question; a container takes its time here.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running zbackup whose terminal this is.
pub struct Dialogue {
    child: Child,
    terminal: File,
    screen: String,
    read_up_to: usize,
}

impl Dialogue {
    /// Starts zbackup with a terminal of its own.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with_fault("", arguments)
    }

    /// The same, with something that goes wrong on the way, see `crates/openzfs/src/fault.rs`.
    pub fn start_with_fault(fault: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program());
        command.args(arguments);
        if !fault.is_empty() {
            command.env("ZBACKUP_FAULT", fault);
        }
        Self::of(command)
    }

    /// Types a line into a shell on a terminal, where `zbackup` is the program under test.
    pub fn in_shell(line: &str) -> Self {
        let mut command = Command::new("bash");
        command.args([
            "-c",
            &format!("zbackup() {{ \"$ZBACKUP_BIN\" \"$@\"; }}; {line}"),
        ]);
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let pty = nix::pty::openpty(None, None).expect("a terminal");
        let side = |fd: &OwnedFd| fd.try_clone().expect("a copy of the terminal");
        command
            .env("TERM", "dumb")
            .stdin(side(&pty.slave))
            .stdout(side(&pty.slave))
            .stderr(side(&pty.slave));
        // SAFETY: all calls are async-signal-safe, and nothing is allocated between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                // Some parents have this one blocked, and zbackup stops its streams with it.
                let mut blocked = std::mem::zeroed();
                libc::sigemptyset(&raw mut blocked);
                libc::sigaddset(&raw mut blocked, libc::SIGUSR1);
                libc::sigprocmask(libc::SIG_BLOCK, &raw const blocked, std::ptr::null_mut());
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().expect("zbackup starts");
        drop(command);
        drop(pty.slave);
        Self {
            child,
            terminal: File::from(pty.master),
            screen: String::new(),
            read_up_to: 0,
        }
    }

    /// Waits until the screen says this (after what was waited for before).
    #[track_caller]
    pub fn sees(&mut self, text: &str) -> &mut Self {
        self.sees_one_of(&[text]);
        self
    }

    /// The same for several texts; returns the one that it says.
    #[track_caller]
    pub fn sees_one_of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let unread = &self.screen[self.read_up_to..];
            let seen = texts
                .iter()
                .find_map(|&text| Some((text, unread.find(text)?)));
            if let Some((text, place)) = seen {
                self.read_up_to += place + text.len();
                return text;
            }
            assert!(
                Instant::now() < deadline && self.read_more(),
                "never saw {texts:?} in:\n{}",
                self.screen
            );
        }
    }

    /// All that was on the screen up to what was waited for last.
    pub fn screen(&self) -> &str {
        &self.screen
    }

    /// Waits until a fault has stopped it.
    pub fn is_stopped(&mut self) -> &mut Self {
        process::wait_until_stopped(self.child.id());
        self
    }

    /// Lets it go on.
    pub fn goes_on(&mut self) -> &mut Self {
        process::signal(self.child.id(), Signal::SIGCONT);
        self
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) -> &mut Self {
        writeln!(self.terminal, "{line}").expect("the terminal takes it");
        self
    }

    /// Waits for each question in turn, and answers it.
    #[track_caller]
    pub fn answers(&mut self, questions: &[(&str, &str)]) -> &mut Self {
        for (question, answer) in questions {
            self.sees(question).sees("[Y/n]").types(answer);
        }
        self
    }

    /// Presses Ctrl-C.
    pub fn interrupts(&mut self) -> &mut Self {
        self.presses(3)
    }

    /// Presses Ctrl-Z.
    pub fn suspends(&mut self) -> &mut Self {
        self.presses(26)
    }

    /// Presses Ctrl-\.
    pub fn quits(&mut self) -> &mut Self {
        self.presses(28)
    }

    fn presses(&mut self, key: u8) -> &mut Self {
        self.terminal
            .write_all(&[key])
            .expect("the terminal takes it");
        self
    }

    /// Reads to the end; returns the exit code and all that was on the screen.
    pub fn ends(mut self) -> (i32, String) {
        while self.read_more() {}
        let status = self.child.wait().expect("zbackup ends");
        println!("{}[{status}]", self.screen);
        (status.code().unwrap_or(-1), self.screen.clone())
    }

    /// False at the end of the output.
    fn read_more(&mut self) -> bool {
        let mut ready = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(PATIENCE).unwrap();
        let told = poll(&mut ready, timeout).expect("poll") > 0;
        let stacks = || process::stacks(self.child.id());
        assert!(
            told,
            "zbackup waits for something; the screen:\n{}\n{}",
            self.screen,
            stacks()
        );
        let mut chunk = [0; 4096];
        // EIO: the other side has been closed.
        match self.terminal.read(&mut chunk) {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.screen += &String::from_utf8_lossy(&chunk[..length]);
                true
            }
        }
    }
}

impl Drop for Dialogue {
    /// A failed test's pools are cleared away next.
    fn drop(&mut self) {
        process::end_of_failed_test(&mut self.child);
    }
}
