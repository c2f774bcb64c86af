//! Everything that people see and answer: tables, questions, the live display.
//!
//! Tables and the `--json` document go to stdout; questions, progress, logs and errors to stderr.
//! Where stdin or stderr is no terminal, questions go to the one from which zbackup was started.
//! Whatever is written while the live display is up goes through it, so that no bar is torn. All that is
//! written is a [`Text`], in which nothing does more than stand there.

mod place;
mod progress;
mod question;
mod stream;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use nix::sys::termios;

use crate::error::{Error, Exit, Phase};
use crate::next::next;
use crate::report::style::Style;
use crate::report::{PlanView, Report, Stream, plan_text, quiet_text, text};
use crate::text::{Text, visible};
use place::Place;
use question::{Heard, hear, meaning};

pub use progress::Progress;
pub use stream::{show_panics, tell};

/// Redraws a second: quick enough to look alive, slow enough for a serial console.
const REDRAWS_HZ: u8 = 10;

/// What the command line says about talking to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// `-q`: failures only.
    pub quiet: bool,
    /// `-v`: ask before every manipulation of the disk.
    pub verbose: bool,
    /// `-y`: every question but a destructive one is answered with yes.
    pub yes: bool,
    /// `--json`: one document on stdout instead of tables.
    pub json: bool,
    /// `--color`
    pub color: ColorChoice,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The answer to a step that `-v` asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Approval {
    /// Do it.
    Yes,
    /// Leave it: the step is skipped.
    No,
}

/// A disk that could be plugged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedDisk<'a> {
    /// Section of the configuration.
    pub section: &'a str,
    /// Its partition.
    pub partuuid: &'a str,
}

/// The one place that writes to stdout and stderr and reads from stdin. Can be shared by threads.
#[derive(Debug)]
pub struct Terminal {
    settings: Settings,
    display: MultiProgress,
    place: Place,
    interrupt: OnceLock<OwnedFd>,
    /// Whose question is on the screen.
    turn: Mutex<()>,
    asking: AtomicBool,
}

impl Terminal {
    /// A terminal that behaves as the command line says.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            display: MultiProgress::with_draw_target(draw_target(settings)),
            place: Place::find(),
            interrupt: OnceLock::new(),
            turn: Mutex::new(()),
            asking: AtomicBool::new(false),
        }
    }

    /// Lets `interrupt` end all questions: as soon as it is readable, and while it stays so, nobody
    /// waits for an answer and every one counts as a no. Only the first call has an effect.
    pub fn interrupted_by(&self, interrupt: OwnedFd) {
        // A second descriptor would be closed unused: there is one signalfd in a process.
        let _ = self.interrupt.set(interrupt);
    }

    /// What the command line said.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// True where somebody sits in front of stdin and stderr.
    pub fn is_watched(&self) -> bool {
        matches!(self.place, Place::Standard(_))
    }

    /// True where somebody can read a question and answer it: also where stdin or stderr leads
    /// elsewhere, on the terminal from which this was started.
    pub fn can_ask(&self) -> bool {
        self.is_watched() || self.place.is_in_the_foreground()
    }

    /// Fails (exit 2) where `-v` would ask questions that nobody can answer.
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

    /// Asks whether to do `step`, such as `unlock /dev/sdb1 (TrueCrypt)`, where `-v` wants that.
    /// With `-y` too the step is only said; without `-v` the answer is yes at once. The end of input
    /// and an interrupt are a no.
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

    /// Asks whether `victims` may be destroyed, which `--force` named. `-y` does not answer this,
    /// and a mere Enter is a no. Where there is no terminal at all `--force` itself is the consent, and
    /// that is said; where there is one, nobody but who sits there consents.
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
        // A key that was hit before the question was there must not answer it.
        if self.place.is_in_the_foreground()
            && let Err(error) = termios::tcflush(input, termios::FlushArg::TCIFLUSH)
        {
            log::error!("cannot empty the terminal's input, so nothing is destroyed: {error}");
            return false;
        }
        self.ask(&format!("Destroy this for ever ({number} in all)?"), false)
    }

    /// Asks whether copies may be renamed, which `--follow-rename` named: "this to that" each. Nothing
    /// goes, so `-y` answers it; without a terminal the option itself is the consent.
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

    /// Shows that one of `wanted` is to be plugged in. The caller waits for it.
    pub fn ask_for_disk(&self, wanted: &[WantedDisk]) -> DiskPrompt<'_> {
        let disks: Vec<_> = wanted
            .iter()
            .map(|disk| format!("[{}] (partition {})", disk.section, disk.partuuid))
            .collect();
        let line = format!(
            "Waiting for {} to be plugged in (Ctrl-C ends) …",
            disks.join(" or ")
        );
        let spinner = self.display.add(ProgressBar::new_spinner());
        if spinner.is_hidden() {
            // Even with -q somebody in front of a terminal has to know what is waited for.
            if self.is_watched() || !self.settings.quiet {
                self.write_stderr(&line.into());
            }
        } else {
            spinner.set_style(spinner_style());
            spinner.set_message(visible(&line).into_owned());
            spinner.enable_steady_tick(std::time::Duration::from_millis(200));
        }
        DiskPrompt {
            terminal: self,
            spinner,
        }
    }

    /// A line that tells people what goes on. Nothing with `-q`.
    pub fn say(&self, line: &str) {
        if !self.settings.quiet {
            self.write_stderr(&line.into());
        }
    }

    /// A warning, for people and for the log.
    pub fn warn(&self, line: &str) {
        log::warn!("{line}");
    }

    /// Shows what will be done. Nothing with `-q` or `--json`.
    pub fn show_plan(&self, view: &PlanView) -> io::Result<()> {
        self.print(&plan_text(view, self.style()))
    }

    /// Prints `text`, which a verb was asked for. Nothing with `-q` or `--json`.
    pub fn print(&self, text: &Text) -> io::Result<()> {
        if self.settings.quiet || self.settings.json {
            return Ok(());
        }
        self.display.suspend(|| stream::show(text))
    }

    /// Shows how the run ended: as the JSON document, as tables, or only what went wrong. What
    /// stderr is to tell is told even where stdout fails.
    pub fn show_report(&self, report: &Report) -> io::Result<()> {
        if self.settings.json || self.settings.quiet {
            self.write_stderr(&quiet_text(report));
        }
        if self.settings.json {
            let document = report.json()?;
            return self.display.suspend(|| stream::show_json(&document));
        }
        if self.settings.quiet {
            return Ok(());
        }
        let mut written = Ok(());
        for part in text(report, self.style()) {
            match part.stream {
                Stream::Stdout => {
                    let shown = self.display.suspend(|| stream::show(&part.text));
                    written = written.and(shown);
                }
                Stream::Stderr => self.write_stderr(&part.text),
            }
        }
        written
    }

    /// Shows running transfers: bars on a terminal, lines elsewhere, nothing with `-q`.
    pub fn progress(&self) -> Progress<'_> {
        Progress::new(self)
    }

    /// The live display, which whoever else writes to stderr has to go through.
    pub(crate) fn display(&self) -> &MultiProgress {
        &self.display
    }

    /// What stdout can show.
    pub fn style(&self) -> Style {
        let width = stream::stdout_columns();
        let color = match self.settings.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => stream::stdout_is_terminal() && colors_are_welcome(),
        };
        Style { width, color }
    }

    /// Asks until there is an answer that means something. In the background there is none.
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
            let interrupt = self.interrupt.get().map(AsFd::as_fd);
            match hear(input, interrupt) {
                Ok(Heard::Line(answer)) => match meaning(&answer, default) {
                    Some(approved) => return approved,
                    None => place.tell(&"Please answer y or n.".into()),
                },
                Ok(Heard::Nobody) => {
                    place.tell(&"".into());
                    return false;
                }
                Err(error) => {
                    let failed = format!("zbackup: cannot read the answer: {error}");
                    place.tell(&Text::lines(["", &failed]));
                    return false;
                }
            }
        }
    }

    fn is_interrupted(&self) -> bool {
        let interrupt = self.interrupt.get().map(AsFd::as_fd);
        interrupt.is_some_and(question::is_readable)
    }

    fn write_stderr(&self, text: &Text) {
        self.display.suspend(|| {
            // Another thread's words do not wait for an answer; they begin below the question.
            if self.asking.load(Ordering::Relaxed) {
                stream::tell(&"".into());
            }
            stream::tell(text);
        });
    }
}

/// A question on the screen. The display is hidden until there is an answer, or it would overwrite
/// the question. It is not locked: whatever happens meanwhile has to be told, too.
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
            // Where the old bars cannot be wiped away they stay, above the question.
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

/// Where the live display is drawn.
fn draw_target(settings: Settings) -> ProgressDrawTarget {
    if !settings.quiet && can_draw() {
        ProgressDrawTarget::stderr_with_hz(REDRAWS_HZ)
    } else {
        ProgressDrawTarget::hidden()
    }
}

fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {wide_msg}").expect("a valid template")
}

/// A request for a disk, on the screen until it is dropped.
#[derive(Debug)]
pub struct DiskPrompt<'a> {
    terminal: &'a Terminal,
    spinner: ProgressBar,
}

impl DiskPrompt<'_> {
    /// The disk of `section` is there.
    pub fn found(self, section: &str) {
        self.spinner.finish_and_clear();
        self.terminal.say(&format!("Found {section}"));
    }
}

impl Drop for DiskPrompt<'_> {
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
    }
}

/// True where stderr can move its cursor.
fn can_draw() -> bool {
    stream::stderr_is_terminal() && !is_dumb()
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// <https://no-color.org>: any text but the empty one means no.
fn colors_are_welcome() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && !is_dumb()
}
