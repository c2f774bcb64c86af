//! The live display of running transfers.

mod lines;
mod tally;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::Terminal;
use crate::human::{human_bytes, human_duration};
use crate::model::VolumePath;
use crate::monitor::Monitor;
use crate::report::Outcome;
use crate::text::cut_middle;
use lines::{finished_line, started_line, total_line};
use tally::Tally;

/// Most bars besides that of the total: small transfers come and go by the dozen.
const MAX_BARS: usize = 8;
/// Width of a volume's name beside its bar, in columns.
const NAME_WIDTH: usize = 20;
/// How often the total is redrawn while no bytes arrive, so that a stall is seen.
const TICK: Duration = Duration::from_millis(500);

/// Shows what a running replication tells: a bar for each running volume and one for the total, or
/// lines if stderr is no terminal.
pub struct Progress<'a> {
    terminal: &'a Terminal,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tally: Tally,
    total: Option<ProgressBar>,
    bars: BTreeMap<VolumePath, ProgressBar>,
    /// Volumes that run without a bar until there is room, with their expected sizes.
    without_bar: BTreeMap<VolumePath, Option<u64>>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(terminal: &'a Terminal) -> Self {
        Self {
            terminal,
            state: Mutex::default(),
        }
    }

    /// A panic in one worker must not end the display of the others.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_live(&self) -> bool {
        !self.terminal.display().is_hidden()
    }

    /// Shows a bar for a volume whose next stream begins, above the total.
    fn show_bar(&self, state: &mut State, volume: &VolumePath, estimated_bytes: Option<u64>) {
        let bar = state.bars.remove(volume).unwrap_or_else(|| {
            let name = cut_middle(volume.as_str(), NAME_WIDTH);
            let bar = new_bar(estimated_bytes).with_prefix(name);
            match &state.total {
                Some(total) => self.terminal.display().insert_before(total, bar),
                None => self.terminal.display().add(bar),
            }
        });
        bar.reset();
        match estimated_bytes {
            Some(bytes) => bar.set_length(bytes),
            None => bar.unset_length(),
        }
        state.bars.insert(volume.clone(), bar);
    }
}

impl Monitor for Progress<'_> {
    fn begin(&self, volumes: usize, estimated_bytes: u64) {
        let mut state = self.state();
        state.tally = Tally::new(volumes, estimated_bytes);
        if self.is_live() {
            let bar = new_bar(Some(estimated_bytes));
            let bar = self.terminal.display().add(bar);
            bar.enable_steady_tick(TICK);
            state.total = Some(bar);
            state.show_total();
        }
    }

    fn started(&self, volume: &VolumePath, what: &str, estimated_bytes: Option<u64>) {
        let mut state = self.state();
        state.tally.start(volume, estimated_bytes);
        if !self.is_live() {
            self.terminal
                .say(&started_line(volume, what, estimated_bytes));
            return;
        }
        if state.bars.len() < MAX_BARS || state.bars.contains_key(volume) {
            self.show_bar(&mut state, volume, estimated_bytes);
        } else {
            state.without_bar.insert(volume.clone(), estimated_bytes);
        }
    }

    fn advanced(&self, volume: &VolumePath, sent_bytes: u64) {
        let mut state = self.state();
        let tenth = state.tally.advance(volume, sent_bytes);
        if let Some(bar) = state.bars.get(volume) {
            stretch(bar, sent_bytes);
            bar.set_position(sent_bytes);
        }
        state.show_total();
        if let (Some(tenth), false) = (tenth, self.is_live()) {
            self.terminal.say(&total_line(tenth, &state.tally));
        }
    }

    fn finished(
        &self,
        volume: &VolumePath,
        sent_bytes: u64,
        seconds: f64,
        failure: Option<(Outcome, &str)>,
    ) {
        let mut state = self.state();
        state.tally.finish(volume, sent_bytes);
        if let Some(bar) = state.bars.remove(volume) {
            bar.finish_and_clear();
            self.terminal.display().remove(&bar);
        }
        state.without_bar.remove(volume);
        if state.bars.len() < MAX_BARS
            && let Some((volume, estimated_bytes)) = state.without_bar.pop_first()
        {
            self.show_bar(&mut state, &volume, estimated_bytes);
        }
        state.show_total();
        // On a terminal a bar that disappears shows success; the table follows.
        if !self.is_live() || failure.is_some() {
            let line = finished_line(volume, sent_bytes, seconds, failure);
            self.terminal.say(&line);
        }
    }

    fn end(&self) {
        let mut state = self.state();
        state.without_bar.clear();
        let bars = std::mem::take(&mut state.bars).into_values();
        for bar in bars.chain(state.total.take()) {
            bar.finish_and_clear();
            self.terminal.display().remove(&bar);
        }
    }
}

/// The ticker's thread and the bars end with the run, however that ends.
impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

impl State {
    fn show_total(&self) {
        let Some(bar) = &self.total else { return };
        let tally = &self.tally;
        bar.set_prefix(format!("{} of {} done", tally.finished(), tally.volumes()));
        bar.set_length(tally.expected_bytes());
        bar.set_position(tally.sent_bytes());
    }
}

/// Raises an estimate that turns out too small to what was sent.
fn stretch(bar: &ProgressBar, sent_bytes: u64) {
    if bar.length().is_some_and(|length| length < sent_bytes) {
        bar.set_length(sent_bytes);
    }
}

fn new_bar(expected_bytes: Option<u64>) -> ProgressBar {
    let template = format!("{{prefix:{NAME_WIDTH}}} {{wide_bar}} {{sent}} {{rate}} {{eta_short}}");
    let style = ProgressStyle::with_template(&template)
        .expect("a valid template")
        .progress_chars("█▓░")
        .with_key("sent", write_sent)
        .with_key("rate", write_rate)
        .with_key("eta_short", write_eta);
    let bar = ProgressBar::with_draw_target(expected_bytes, ProgressDrawTarget::hidden());
    bar.with_style(style)
}

/// `1.2 GiB of 3.4 GiB`
fn write_sent(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let sent = human_bytes(state.pos());
    let text = match state.len() {
        Some(length) => format!("{sent} of {}", human_bytes(length)),
        None => sent,
    };
    // The writer is a text in memory.
    let _ = write!(out, "{text:>22}");
}

fn write_rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a rate for the eye
    let bytes_per_second = state.per_sec() as u64;
    let text = format!("{}/s", human_bytes(bytes_per_second));
    let _ = write!(out, "{text:>11}");
}

fn write_eta(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let known = state.len().is_some_and(|length| length > state.pos()) && state.per_sec() >= 1.0;
    let text = match state.eta().as_secs() {
        _ if !known => "?".into(),
        // Tenths of seconds would only flicker.
        seconds @ ..10 => format!("{seconds} s"),
        seconds => human_duration(Duration::from_secs(seconds)),
    };
    let _ = write!(out, "ETA {text:>11}");
}
