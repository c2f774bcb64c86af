//! Progress as lines, for a log file or a pipe.

use super::tally::Tally;
use crate::human::{human_bytes, human_rate, human_seconds};
use crate::model::VolumePath;
use crate::report::Outcome;

/// `/home: incremental a → b, about 1.3 GiB`
pub(super) fn started_line(
    volume: &VolumePath,
    what: &str,
    estimated_bytes: Option<u64>,
) -> String {
    let size = estimated_bytes.map(|bytes| format!(", about {}", human_bytes(bytes)));
    format!("{volume}: {what}{}", size.unwrap_or_default())
}

/// `30 % of 40.0 GiB sent, 2 of 5 volumes done`
pub(super) fn total_line(tenths: u64, tally: &Tally) -> String {
    format!(
        "{} % of {} sent, {} of {} volumes done",
        tenths * 10,
        human_bytes(tally.expected_bytes()),
        tally.finished(),
        tally.volumes(),
    )
}

/// `/home: 1.2 GiB in 12 s (102.4 MiB/s)`
pub(super) fn finished_line(
    volume: &VolumePath,
    sent_bytes: u64,
    seconds: f64,
    failure: Option<(Outcome, &str)>,
) -> String {
    if let Some((outcome, reason)) = failure {
        return format!("{volume}: {}: {reason}", outcome.word());
    }
    let rate = human_rate(sent_bytes, seconds).map(|rate| format!(" ({rate})"));
    format!(
        "{volume}: {} in {}{}",
        human_bytes(sent_bytes),
        human_seconds(seconds),
        rate.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_as_lines() {
        let home = VolumePath::new("/home").unwrap();
        let mut tally = Tally::new(2, 4096);
        assert_eq!(
            started_line(&home, "full zbackup-2026-11-22", Some(4096)),
            "/home: full zbackup-2026-11-22, about 4.0 KiB"
        );
        assert_eq!(
            started_line(&home, "full zbackup-2026-11-22", None),
            "/home: full zbackup-2026-11-22"
        );
        tally.start(&home, Some(4096));
        assert_eq!(
            total_line(3, &tally),
            "30 % of 4.0 KiB sent, 0 of 2 volumes done"
        );
        assert_eq!(
            finished_line(&home, 3 << 20, 1.5, None),
            "/home: 3.0 MiB in 1.5 s (2.0 MiB/s)"
        );
        assert_eq!(
            finished_line(&home, 0, 0.0, Some((Outcome::Failed, "out of space"))),
            "/home: failed: out of space"
        );
    }
}
