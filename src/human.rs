//! Sizes, durations and system errors, as people read them.

use std::io;
use std::time::Duration;

/// `bytes` with one decimal in the largest unit that keeps it at 1 or above: `1.3 MiB`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Whole tenths of the unit: a size that rounds up to 1024.0 KiB becomes 1.0 MiB.
    let mut unit_bytes = 1024_u128;
    for unit in UNITS {
        let tenths = (u128::from(bytes) * 10 + unit_bytes / 2) / unit_bytes;
        if tenths < 10_240 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        unit_bytes *= 1024;
    }
    unreachable!("u64::MAX bytes are 16 EiB")
}

/// A duration in its two largest units: `0.8 s`, `42 s`, `3 min 05 s`, `2 h 07 min`, `1 d 03 h`.
pub fn human_duration(duration: Duration) -> String {
    // Rounded first, so that 59.97 s is not shown as 60.0 s.
    let tenths = (duration.as_millis() + 50) / 100;
    if tenths < 100 {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let seconds = (duration.as_millis() + 500) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {:02} s", seconds % 60),
        3600..86_400 => format!("{hours} h {:02} min", minutes % 60),
        _ => format!("{days} d {:02} h", hours % 24),
    }
}

/// A number of `seconds` as [`human_duration`] shows it; a number that is no duration counts as zero.
pub fn human_seconds(seconds: f64) -> String {
    human_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// `bytes` in `seconds` as a rate, `95.2 MiB/s`; `None` if it was too short to tell.
pub fn human_rate(bytes: u64, seconds: f64) -> Option<String> {
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    let bytes_per_second = u128::from(bytes) * 1000 / duration.as_millis().max(1);
    (duration.as_millis() >= 10)
        .then(|| u64::try_from(bytes_per_second).ok())
        .flatten()
        .map(|rate| format!("{}/s", human_bytes(rate)))
}

/// `1 volume`, `3 volumes`.
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// The system's words for a failed call, without the number that `io::Error` adds.
pub fn system_error(error: &io::Error) -> String {
    let words = error.to_string();
    let end = words.find(" (os error").unwrap_or(words.len());
    words[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_the_unit_that_fits() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1300, "1.3 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (1024 * 1024 - 60, "1023.9 KiB"),
            (3 << 30, "3.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(human_bytes(bytes), shown, "{bytes}");
        }
    }

    #[test]
    fn durations_in_two_units() {
        for (seconds, shown) in [
            (0.0, "0.0 s"),
            (0.84, "0.8 s"),
            (9.94, "9.9 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (185.0, "3 min 05 s"),
            (3599.7, "1 h 00 min"),
            (7620.0, "2 h 07 min"),
            (97_200.0, "1 d 03 h"),
            (-1.0, "0.0 s"),
            (f64::NAN, "0.0 s"),
        ] {
            assert_eq!(human_seconds(seconds), shown, "{seconds}");
        }
    }

    #[test]
    fn a_rate_needs_some_time() {
        assert_eq!(human_rate(3 << 20, 1.5).as_deref(), Some("2.0 MiB/s"));
        assert_eq!(human_rate(3 << 20, 0.001), None);
        assert_eq!(human_rate(3 << 20, f64::INFINITY), None);
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!(count(1, "volume"), "1 volume");
        assert_eq!(count(0, "volume"), "0 volumes");
    }
}
