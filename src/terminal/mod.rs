//! Everything that people see and answer: tables, questions, the live display.
//!
//! Tables and the `--json` document go to stdout; questions, progress, logs and errors to stderr.
//! If stdin or stderr is no terminal, questions go to the terminal from which zbackup was started; those for
//! passphrases always do. Whatever is written while the live display is up goes through it, so that no bar is
//! torn. Everything that is written is a [`Text`], which contains no control characters.

mod answer;
mod ask;
mod echo;
mod place;
mod progress;

mod stream;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::style::Style;
use crate::report::{PlanView, Report, Stream, plan_text, quiet_text, text};
use crate::text::{Text, visible};
use place::Place;

pub use ask::{Approval, Unanswered};
pub use progress::Progress;
pub use stream::{show_panics, tell};

/// Redraws per second: quick enough to look alive, slow enough for a serial console.
const REDRAWS_HZ: u8 = 10;

/// What the command line says about output and questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// `-q`: failures only.
    pub quiet: bool,
    /// `-v`: ask before every manipulation of the disk.
    pub verbose: bool,
    /// `-y`: every question except a destructive one is answered with yes.
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

/// A disk that could be plugged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedDisk<'a> {
    /// Section of the configuration.
    pub section: &'a str,
    /// Its partition.
    pub partuuid: &'a str,
}

/// The only place that writes to stdout and stderr and reads what is typed. Threads can share it.
#[derive(Debug)]
pub struct Terminal {
    settings: Settings,
    display: MultiProgress,
    place: Place,
    interrupt: OnceLock<OwnedFd>,
    /// Held by the thread whose question is on the screen.
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

    /// Lets `interrupt` end all questions: while it is readable, no question waits for an answer
    /// and each counts as a no. Only the first call has an effect.
    pub fn interrupted_by(&self, interrupt: OwnedFd) {
        // A second descriptor would be closed unused: there is one signalfd in a process.
        let _ = self.interrupt.set(interrupt);
    }

    /// What the command line said.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// True if somebody sits in front of stdin and stderr.
    pub fn is_watched(&self) -> bool {
        matches!(self.place, Place::Standard(_))
    }

    /// Asks the user to plug in one of `wanted`. The caller waits for it.
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
            // Even with -q somebody in front of a terminal has to know what zbackup waits for.
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

    /// Tells people what is going on, in one line. Nothing with `-q`.
    pub fn say(&self, line: &str) {
        if !self.settings.quiet {
            self.write_stderr(&line.into());
        }
    }

    /// Warns, on the terminal and in the log.
    pub fn warn(&self, line: &str) {
        log::warn!("{line}");
    }

    /// Shows what will be done. Nothing with `-q` or `--json`.
    pub fn show_plan(&self, view: &PlanView) -> io::Result<()> {
        self.print(&plan_text(view, self.style()))
    }

    /// Prints `text`, the output of a verb. Nothing with `-q` or `--json`.
    pub fn print(&self, text: &Text) -> io::Result<()> {
        if self.settings.quiet || self.settings.json {
            return Ok(());
        }
        self.display.suspend(|| stream::show(text))
    }

    /// Shows how the run ended: as the JSON document, as tables, or only what went wrong. What
    /// belongs on stderr is told even if stdout fails.
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

    /// The live display, through which everything else on stderr has to go.
    pub(crate) fn display(&self) -> &MultiProgress {
        &self.display
    }

    /// The width and colours of stdout.
    pub fn style(&self) -> Style {
        let width = stream::stdout_columns();
        let color = match self.settings.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => stream::stdout_is_terminal() && colors_are_welcome(),
        };
        Style { width, color }
    }

    fn write_stderr(&self, text: &Text) {
        self.display.suspend(|| {
            // Another thread's message does not wait for an answer; it begins below the question.
            if self.asking.load(Ordering::Relaxed) {
                stream::tell(&"".into());
            }
            stream::tell(text);
        });
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

/// True if stderr can move its cursor.
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
