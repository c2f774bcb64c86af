//! How well a pool is: what a person has to know of it before they trust it with their data.

use std::collections::BTreeSet;
use std::time::Duration;

use openzfs::{Damage, Health, Libzfs, PoolName, PoolStatus, ScanFunction, ScanState, VdevStatus};

use crate::human::count;
use crate::next::next;
use crate::report::{DamagedFile, HealthReport};
use crate::text::shell_word;

/// A pool that is fuller than this is slow, and soon has no room for the next run.
const FULL_PERCENT: u64 = 90;
/// A report names at most this many damaged files.
const MOST_DAMAGES: usize = 100;
/// A warning names at most this many of them.
const MOST_NAMED: usize = 5;
const DAY_SECONDS: u64 = 86_400;

/// What is known of a pool's health at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkup {
    status: PoolStatus,
    damages: Vec<Damage>,
    /// `used` and `available` of its root.
    used_bytes: u64,
    available_bytes: u64,
    /// When it was made, seconds since the epoch.
    created_seconds: u64,
}

/// Whose pool it is, and how it is looked after.
#[derive(Debug, Clone, Copy)]
pub struct Care {
    /// `host` or `disk`.
    pub whose: &'static str,
    /// A warning is given if the last scrub is older than this; `None` if none is wanted.
    pub scrub_every: Option<Duration>,
    /// How a scrub is done.
    pub scrub: &'static str,
    /// What has to be done before a command finds the pool.
    pub opened: &'static str,
}

/// Looks at a pool that is imported.
pub fn look(zfs: &Libzfs, name: &PoolName) -> Result<Checkup, openzfs::Error> {
    let pool = zfs
        .pool(name)?
        .ok_or_else(|| openzfs::Error::not_found(name.as_str()))?;
    let status = pool.status()?;
    let damages = if status.data_errors == 0 {
        Vec::new()
    } else {
        pool.damages(MOST_DAMAGES)?
    };
    let root = zfs
        .dataset(&name.root())?
        .ok_or_else(|| openzfs::Error::not_found(name.as_str()))?;
    let properties = root.reported_properties();
    let number = |property| properties.number(property).unwrap_or(0);
    Ok(Checkup {
        status,
        damages,
        used_bytes: number("used"),
        available_bytes: number("available"),
        created_seconds: number("creation"),
    })
}

impl Checkup {
    /// Devices that are missing from the pool.
    fn missing(&self) -> Vec<&VdevStatus> {
        let vdevs = self.status.vdevs.iter();
        vdevs.filter(|vdev| vdev.is_missing()).collect()
    }

    /// For the report.
    pub fn report(&self, now_seconds: u64) -> HealthReport {
        let files = self.damages.iter().map(|damage| DamagedFile {
            volume: damage.dataset.clone(),
            file: damage.file.clone(),
        });
        HealthReport {
            state: self.status.health_text.clone(),
            missing: self.missing().iter().map(ToString::to_string).collect(),
            errors: files.collect(),
            data_errors: self.status.data_errors,
            used_percent: self.used_percent(),
            scrub_age_seconds: self
                .scrubbed_seconds()
                .map(|end| now_seconds.saturating_sub(end)),
        }
    }

    fn used_percent(&self) -> u64 {
        let (used, available) = (
            u128::from(self.used_bytes),
            u128::from(self.available_bytes),
        );
        let percent = (used * 100).checked_div(used + available).unwrap_or(0);
        u64::try_from(percent).expect("a part of the whole is at most 100 percent")
    }

    /// When the last scrub was completed.
    fn scrubbed_seconds(&self) -> Option<u64> {
        let scan = self.status.scan?;
        let is_whole = scan.function == ScanFunction::Scrub && scan.state == ScanState::Finished;
        scan.end_seconds.filter(|_| is_whole)
    }

    /// What a person has to know, one sentence each; empty if all is well.
    pub fn warnings(&self, care: &Care, now_seconds: u64) -> Vec<String> {
        let pool = format!("the {}'s pool {}", care.whose, self.status.name);
        let warnings = [
            self.not_whole(&pool, care),
            self.failing_devices(&pool),
            self.damaged_files(&pool, care),
            self.running_scan(&pool),
            self.paused_scrub(&pool, care),
            self.old_scrub(&pool, care, now_seconds),
            self.nearly_full(&pool),
        ];
        warnings.into_iter().flatten().collect()
    }

    /// In what state it is and which devices it lacks.
    fn not_whole(&self, pool: &str, care: &Care) -> Option<String> {
        let missing = self.missing();
        if self.status.health == Health::Online && missing.is_empty() {
            return None;
        }
        let state = &self.status.health_text;
        let name = shell_word(&self.status.name);
        Some(if missing.is_empty() {
            next!(
                "pool-unwell",
                "{pool} is {state}: `zpool status {name}`{} tells why",
                care.opened
            )
        } else {
            let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
            next!(
                "pool-degraded",
                "{pool} is {state}: it does without {}. Bring that back, or put another in its place (zpool replace)",
                missing.join(", ")
            )
        })
    }

    fn failing_devices(&self, pool: &str) -> Option<String> {
        let failing = |vdev: &&VdevStatus| {
            vdev.read_errors > 0 || vdev.write_errors > 0 || vdev.checksum_errors > 0
        };
        let counts = self.status.vdevs.iter().filter(failing).map(|vdev| {
            format!(
                "{vdev} with {}, {} and {}",
                errors(vdev.read_errors, "read error"),
                errors(vdev.write_errors, "write error"),
                errors(vdev.checksum_errors, "checksum error"),
            )
        });
        let counts: Vec<_> = counts.collect();
        (!counts.is_empty()).then(|| {
            format!(
                "{pool} has failing devices: {}. If that comes again, replace them",
                counts.join("; ")
            )
        })
    }

    fn damaged_files(&self, pool: &str, care: &Care) -> Option<String> {
        let number = self.status.data_errors;
        let name = shell_word(&self.status.name);
        if number == 0 {
            return None;
        }
        let named: Vec<_> = self.damages.iter().take(MOST_NAMED).map(words).collect();
        let more = number.saturating_sub(u64::try_from(named.len()).unwrap_or(number));
        let more = if more == 0 {
            String::new()
        } else {
            format!(" and {more} more")
        };
        Some(next!(
            "known-damage",
            "{pool} has known damage: {}{more}. Bring these back from another copy while there is one{}; \
             `zpool status -v {name}`{} lists all, and forgets what is gone after a scrub ({})",
            named.join(", "),
            // The next run may need any of the disk's copies.
            destroy_commands(&self.damages)
                .filter(|_| care.whose == "host")
                .map(|commands| format!(", and destroy what holds them for ever ({commands})"))
                .unwrap_or_default(),
            care.opened,
            self.scrub(care)
        ))
    }

    fn running_scan(&self, pool: &str) -> Option<String> {
        let scan = self.status.scan?;
        let what = match (scan.function, scan.state) {
            (ScanFunction::Scrub, ScanState::Scanning) => "scrubbed",
            (ScanFunction::Resilver, ScanState::Scanning) => "resilvered",
            _ => return None,
        };
        Some(format!(
            "{pool} is being {what}, which slows the run down and goes on at the next import"
        ))
    }

    fn paused_scrub(&self, pool: &str, care: &Care) -> Option<String> {
        let is_paused = self.status.scan?.state == ScanState::Paused;
        is_paused.then(|| {
            next!(
                "scrub-paused",
                "{pool} has a paused scrub, which does not go on by itself: `{}` resumes it",
                self.scrub(care)
            )
        })
    }

    fn old_scrub(&self, pool: &str, care: &Care, now_seconds: u64) -> Option<String> {
        let every = care.scrub_every?;
        let is_running = self.status.scan.is_some_and(|scan| {
            scan.state == ScanState::Scanning && scan.function == ScanFunction::Scrub
        });
        let scrubbed = self.scrubbed_seconds();
        // A new pool needs no scrub yet.
        let since = scrubbed.unwrap_or(self.created_seconds);
        let age_seconds = now_seconds.saturating_sub(since);
        if is_running || age_seconds <= every.as_secs() {
            return None;
        }
        let days = age_seconds / DAY_SECONDS;
        let last = match scrubbed {
            Some(_) => format!("was last scrubbed {days} days ago"),
            None => format!("is {days} days old, and no scrub of it is known"),
        };
        Some(format!(
            "{pool} {last}: a scrub finds what has rotted ({})",
            self.scrub(care)
        ))
    }

    /// The command that scrubs it.
    fn scrub(&self, care: &Care) -> String {
        care.scrub.replace("POOL", &shell_word(&self.status.name))
    }

    fn nearly_full(&self, pool: &str) -> Option<String> {
        let percent = self.used_percent();
        (percent > FULL_PERCENT).then(|| {
            format!(
                "{pool} is {percent} % full: it gets slow, and the next run may not fit. Keep fewer \
                 snapshots (last_snapshots), or take a larger disk"
            )
        })
    }
}

fn errors(number: u64, noun: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), noun)
}

/// A damaged file with the dataset that it is in.
pub fn words(damage: &Damage) -> String {
    format!("{} in {}", damage.file, damage.dataset)
}

/// The commands that destroy the snapshots among these: the live file may be repaired, a snapshot never is.
pub fn destroy_commands(damages: &[Damage]) -> Option<String> {
    let names = damages.iter().map(|damage| damage.dataset.as_str());
    let snapshots: BTreeSet<&str> = names.filter(|name| name.contains('@')).collect();
    let commands: Vec<_> = snapshots
        .iter()
        .map(|name| format!("zfs destroy {}", shell_word(name)))
        .collect();
    (!commands.is_empty()).then(|| commands.join(" && "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use openzfs::{Guid, ScanStatus};

    const NOW: u64 = 1_800_000_000;
    const CARE: Care = Care {
        whose: "disk",
        scrub_every: Some(Duration::from_secs(90 * DAY_SECONDS)),
        scrub: "zpool scrub POOL",
        opened: "",
    };

    fn vdev(path: &str, health: Health, errors: [u64; 3]) -> VdevStatus {
        let mut vdev = VdevStatus::new(path.into(), Guid(7), health);
        [vdev.read_errors, vdev.write_errors, vdev.checksum_errors] = errors;
        vdev
    }

    fn well() -> Checkup {
        let mut status = PoolStatus::new(PoolName::new("backup").unwrap(), Guid(1));
        status.size_bytes = 1000;
        status.free_bytes = 1000;
        status.vdevs = vec![vdev("/dev/sda1", Health::Online, [0; 3])];
        Checkup {
            status,
            damages: Vec::new(),
            used_bytes: 90,
            available_bytes: 10,
            created_seconds: NOW - 90 * DAY_SECONDS,
        }
    }

    fn scan(function: ScanFunction, state: ScanState, days_ago: u64) -> ScanStatus {
        ScanStatus::new(function, state, Some(NOW - days_ago * DAY_SECONDS))
    }

    #[track_caller]
    fn warns(checkup: &Checkup, expected: &[&str]) {
        let warnings = checkup.warnings(&CARE, NOW);
        assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
        for (warning, expected) in warnings.iter().zip(expected) {
            assert!(warning.contains(expected), "{warning}");
        }
    }

    #[test]
    fn a_healthy_pool_says_nothing() {
        let checkup = well();
        warns(&checkup, &[]);
        let report = checkup.report(NOW);
        assert_eq!(report.state, "ONLINE");
        assert_eq!((report.used_percent, report.scrub_age_seconds), (90, None));
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut checkup = well();
        checkup.status.health = Health::Degraded;
        checkup.status.health_text = "DEGRADED".into();
        let gone = vdev("/dev/sdb1", Health::Unavailable, [0; 3]);
        checkup.status.vdevs.push(gone);
        warns(&checkup, &["DEGRADED: it does without /dev/sdb1"]);
        assert_eq!(checkup.report(NOW).missing, ["/dev/sdb1"]);
    }

    #[test]
    fn errors_are_counted_and_damaged_files_named() {
        let mut checkup = well();
        checkup.status.vdevs[0] = vdev("/dev/sda1", Health::Online, [0, 0, 2]);
        checkup.status.data_errors = 3;
        checkup.damages = vec![Damage {
            dataset: "backup/home@a".into(),
            file: "/b".into(),
        }];
        warns(
            &checkup,
            &["2 checksum errors", "/b in backup/home@a and 2 more"],
        );
    }

    #[test]
    fn a_scrub_gets_old_and_a_new_pool_needs_none() {
        let mut checkup = well();
        checkup.created_seconds -= 1;
        warns(&checkup, &["is 90 days old, and no scrub"]);
        checkup.status.scan = Some(scan(ScanFunction::Scrub, ScanState::Canceled, 1));
        warns(&checkup, &["no scrub"]);
        checkup.status.scan = Some(scan(ScanFunction::Scrub, ScanState::Finished, 90));
        warns(&checkup, &[]);
        checkup.status.scan = Some(scan(ScanFunction::Scrub, ScanState::Finished, 91));
        warns(&checkup, &["was last scrubbed 91 days ago"]);
        let never = Care {
            scrub_every: None,
            ..CARE
        };
        assert!(checkup.warnings(&never, NOW).is_empty());
        checkup.status.scan = Some(scan(ScanFunction::Scrub, ScanState::Scanning, 0));
        warns(&checkup, &["is being scrubbed"]);
        checkup.status.scan = Some(scan(ScanFunction::Scrub, ScanState::Paused, 0));
        warns(&checkup, &["`zpool scrub backup` resumes it", "no scrub"]);
        assert_eq!(checkup.report(NOW).scrub_age_seconds, None);
        checkup.status.scan = Some(scan(ScanFunction::Resilver, ScanState::Scanning, 0));
        warns(&checkup, &["is being resilvered", "no scrub"]);
    }

    #[test]
    fn a_full_pool_is_told() {
        let mut checkup = well();
        checkup.used_bytes = 91;
        checkup.available_bytes = 9;
        warns(&checkup, &["91 % full"]);
        checkup.used_bytes = 0;
        checkup.available_bytes = 0;
        assert_eq!(checkup.report(NOW).used_percent, 0);
    }
}
