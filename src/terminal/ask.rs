//! Questions and their answers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use indicatif::ProgressDrawTarget;
use nix::sys::termios;
use zeroize::Zeroizing;

use super::answer::{Heard, hear, is_readable, meaning};
use super::echo::Quiet;
use super::place::{self, CONTROLLING, Place};
use super::{Terminal, draw_target, stream};
use crate::error::{Error, Exit, Phase};
use crate::human::system_error;
use crate::next::next;
use crate::text::Text;

/// More than a terminal accepts as one line.
const MAX_ANSWER_BYTES: usize = 4096;

/// The answer to a step that `-v` asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Approval {
    /// Do it.
    Yes,
    /// Skip the step.
    No,
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// There is no terminal, or it cannot be used.
    #[error("{CONTROLLING}: no terminal to ask for the passphrase ({call}: {words})")]
    NoTerminal {
        /// The system call that failed.
        call: &'static str,
        /// The system's words.
        words: String,
    },
    /// The run is to end.
    #[error("{CONTROLLING}: interrupted while asking for the passphrase; a signal came")]
    Interrupted,
    /// Ctrl-D, or the terminal was hung up.
    #[error("{CONTROLLING}: interrupted while asking for the passphrase; the input ended")]
    Ended,
    /// More bytes were typed than the longest passphrase has.
    #[error(
        "{CONTROLLING}: the passphrase or keyfile does not fit; a passphrase has at most {0} bytes"
    )]
    TooLong(usize),
}

impl Unanswered {
    fn failed(call: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            let words = system_error(&error);
            Self::NoTerminal { call, words }
        }
    }
}

impl Terminal {
    /// True if somebody can read a question and answer it. If stdin or stderr leads elsewhere, that
    /// is on the terminal from which zbackup was started.
    pub fn can_ask(&self) -> bool {
        self.is_watched() || self.place.is_in_the_foreground()
    }

    /// Fails (exit 2) if `-v` would ask questions that nobody can answer.
    pub fn check_verbosity(&self) -> Result<(), Error> {
        if self.settings.verbose && !self.settings.yes && !self.can_ask() {
            let message = "-v asks before every step, and there is no terminal to ask on";
            return Err(Error::new(Phase::Arguments, message)
                .next(next!(
                    "verbose-without-terminal",
                    "Add -y to answer yes to every step, or leave out -v."
                ))
                .exit(Exit::Usage));
        }
        Ok(())
    }

    /// Asks whether to do `step`, such as `unlock /dev/sdb1 (TrueCrypt)`, if `-v` wants that. With
    /// `-y` too the step is only told; without `-v` the answer is yes at once. The end of input and
    /// an interrupt count as a no.
    pub fn approve(&self, step: &str) -> Approval {
        if !self.settings.verbose {
            return Approval::Yes;
        }
        if self.settings.yes {
            self.write_stderr(&step.into());
            return if self.is_interrupted() {
                Approval::No
            } else {
                Approval::Yes
            };
        }
        if self.ask(&format!("{step}?"), true) {
            Approval::Yes
        } else {
            Approval::No
        }
    }

    /// Asks whether `victims` may be destroyed, which `--force` named. `-y` does not answer this, and a
    /// mere Enter is a no. If there is no terminal at all, `--force` itself is the consent, and that is
    /// told; if there is one, only the person in front of it can consent.
    pub fn approve_destruction(&self, what: impl Into<Text>, victims: &[String]) -> bool {
        let mut list = what.into();
        list.append(Text::lines(
            victims.iter().map(|victim| format!("  {victim}")),
        ));
        self.write_stderr(&list);
        let number = victims.len();
        let Some(input) = self.place.input() else {
            let is_consent = matches!(self.place, Place::Nowhere);
            let line = if is_consent {
                format!("Destroying this ({number} in all): --force allows it")
            } else {
                "Nothing is destroyed: the terminal cannot be asked on".to_owned()
            };
            self.write_stderr(&line.into());
            return is_consent;
        };
        if !stream::stderr_is_terminal() {
            self.place.tell(&list);
        }
        // A key that was pressed before the question appeared must not answer it.
        if self.place.is_in_the_foreground()
            && let Err(error) = termios::tcflush(input, termios::FlushArg::TCIFLUSH)
        {
            log::error!("cannot empty the terminal's input, so nothing is destroyed: {error}");
            return false;
        }
        self.ask(&format!("Destroy this for ever ({number} in all)?"), false)
    }

    /// Asks whether copies may be renamed, which `--follow-rename` named: "this to that" each. Nothing
    /// is destroyed, so `-y` answers it; without a terminal the option itself is the consent.
    pub fn approve_renames(&self, renames: &[String]) -> bool {
        let mut list = Text::from("--follow-rename renames:".to_owned());
        list.append(Text::lines(
            renames.iter().map(|rename| format!("  {rename}")),
        ));
        self.write_stderr(&list);
        if self.settings.yes || matches!(self.place, Place::Nowhere) {
            return !self.is_interrupted();
        }
        if self.place.input().is_some() && !stream::stderr_is_terminal() {
            self.place.tell(&list);
        }
        self.ask("Rename this?", false)
    }

    /// Asks for a passphrase on the terminal from which zbackup was started, wherever stdin, stdout and
    /// stderr lead, and does not show what is typed. A process in the background waits until it is in
    /// the foreground. When this returns, the terminal is as it was before.
    pub fn passphrase(
        &self,
        prompt: &str,
        max_bytes: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Unanswered> {
        let terminal = place::controlling().map_err(Unanswered::failed("open"))?;
        let (_asking, input) = (Asking::begin(self), terminal.as_fd());
        let heard = {
            let quiet = Quiet::new(input).map_err(io::Error::from);
            let _quiet = quiet.map_err(Unanswered::failed("tcsetattr"))?;
            stream::ask_on(&terminal, &format!("{prompt}:").into());
            let heard = hear(input, self.interrupted(), max_bytes);
            // The terminal did not show the Enter either.
            stream::tell_on(&terminal, &"".into());
            heard
        };
        match heard.map_err(Unanswered::failed("read"))? {
            Heard::Line(line) => Ok(line),
            Heard::TooLong => Err(Unanswered::TooLong(max_bytes)),
            Heard::Ended => Err(Unanswered::Ended),
            Heard::Interrupted => Err(Unanswered::Interrupted),
        }
    }

    /// Asks until there is a valid answer. In the background there is none.
    fn ask(&self, question: &str, default: bool) -> bool {
        let choices = if default { "[Y/n]" } else { "[y/N]" };
        let (_asking, place) = (Asking::begin(self), &self.place);
        let Some(input) = place.input() else {
            return false;
        };
        loop {
            place.ask(&format!("{question} {choices}").into());
            if !place.is_in_the_foreground() {
                let no = "no: zbackup runs in the background, where nobody can answer";
                place.tell(&no.into());
                return false;
            }
            let answer = match hear(input, self.interrupted(), MAX_ANSWER_BYTES) {
                Ok(Heard::Line(line)) => meaning(&String::from_utf8_lossy(&line), default),
                Ok(Heard::TooLong) => None,
                Ok(Heard::Ended | Heard::Interrupted) => {
                    place.tell(&"".into());
                    return false;
                }
                Err(error) => {
                    let failed = format!("zbackup: cannot read the answer: {error}");
                    place.tell(&Text::lines(["", &failed]));
                    return false;
                }
            };
            match answer {
                Some(approved) => return approved,
                None => place.tell(&"Please answer y or n.".into()),
            }
        }
    }

    /// The descriptor that is readable once the run is to end.
    fn interrupted(&self) -> Option<BorrowedFd<'_>> {
        self.interrupt.get().map(AsFd::as_fd)
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted().is_some_and(is_readable)
    }
}

/// A question on the screen. The display is hidden until there is an answer, since it would
/// overwrite the question. It is not locked: what happens meanwhile has to be told too.
struct Asking<'a> {
    terminal: &'a Terminal,
    /// One question at a time.
    _turn: MutexGuard<'a, ()>,
}

impl<'a> Asking<'a> {
    fn begin(terminal: &'a Terminal) -> Self {
        let turn = terminal.turn.lock();
        let turn = turn.unwrap_or_else(PoisonError::into_inner);
        if !terminal.display.is_hidden() {
            // If the old bars cannot be wiped, they stay above the question.
            let _ = terminal.display.clear();
        }
        terminal
            .display
            .set_draw_target(ProgressDrawTarget::hidden());
        terminal.asking.store(true, Ordering::Relaxed);
        Self {
            terminal,
            _turn: turn,
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.terminal.asking.store(false, Ordering::Relaxed);
        let target = draw_target(self.terminal.settings);
        self.terminal.display.set_draw_target(target);
    }
}
