//! Reports both pools' health, before a run and after it.

use openzfs::{Libzfs, PoolName};

use crate::config::{Device, Host};
use crate::human::count;
use crate::inventory::health::{self, Care};
use crate::model::VolumePath;
use crate::model::{Side, is_managed};
use crate::next::next;
use crate::report::Report;

/// How the disk's pool is scrubbed: neither a run nor a read-only `open` leaves it open for that.
const SCRUB_THE_DISK: &str =
    next!("scrub-disk", as_is "zbackup open --rw && zpool scrub -w POOL && zbackup close");
const OPENED: &str = next!("known-damage", as_is " after `zbackup open`");
const SCRUB_THE_HOST: &str = next!("scrub-host", as_is "zpool scrub POOL");

/// The two pools of a run.
#[derive(Clone, Copy)]
pub(super) struct Patients<'a> {
    pub zfs: &'a Libzfs,
    pub device: &'a Device,
    pub disk_pool: &'a PoolName,
    /// This host and its pool, if the verb has to do with them.
    pub host: Option<(&'a Host, &'a PoolName)>,
}

impl Patients<'_> {
    /// Writes the health of both pools into the report, and warns of what is wrong. `told` are the
    /// warnings of the last look, which the new ones replace.
    pub fn tell(&self, report: &mut Report, told: &mut Vec<String>) {
        let now_seconds = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
        let mut warnings = Vec::new();
        if let Some((host, pool)) = self.host {
            let care = Care {
                whose: "host",
                scrub_every: host.scrub_every,
                scrub: SCRUB_THE_HOST,
                opened: "",
            };
            let health = self.look(pool, &care, now_seconds, &mut warnings);
            if let Some(host) = &mut report.host {
                host.health = health;
            }
        }
        let care = Care {
            whose: "disk",
            scrub_every: self.device.scrub_every,
            scrub: SCRUB_THE_DISK,
            opened: OPENED,
        };
        let health = self.look(self.disk_pool, &care, now_seconds, &mut warnings);
        if let Some(disk) = &mut report.disk {
            disk.health = health;
        }
        for new in warnings.iter().filter(|warning| !told.contains(warning)) {
            log::warn!("{new}");
        }
        report.warnings.retain(|warning| !told.contains(warning));
        report.warnings.extend(warnings.iter().cloned());
        *told = warnings;
    }

    fn look(
        &self,
        pool: &PoolName,
        care: &Care,
        now_seconds: u64,
        warnings: &mut Vec<String>,
    ) -> Option<crate::report::HealthReport> {
        match health::look(self.zfs, pool) {
            Ok(checkup) => {
                warnings.extend(checkup.warnings(care, now_seconds));
                Some(checkup.report(now_seconds))
            }
            Err(error) => {
                warnings.push(format!("the health of {pool} is not known: {error}"));
                None
            }
        }
    }
}

/// Warns of snapshots in the disk's copies that zbackup did not make, if old ones are to go:
/// retention never removes these.
pub(super) fn tell_of_unmanaged(disk: &Side, volumes: &[VolumePath], report: &mut Report) {
    let copies = volumes.iter().filter_map(|volume| {
        let name = disk.name_of(volume).ok()?;
        disk.dataset(&name)
    });
    let number = copies
        .flat_map(|copy| &copy.snapshots)
        .filter(|snapshot| !is_managed(snapshot))
        .count();
    if number > 0 {
        let warning = format!(
            "{} on {} {} not made by zbackup: last_snapshots neither counts nor removes them",
            count(number, "snapshot"),
            disk.pool,
            if number == 1 { "was" } else { "were" }
        );
        log::warn!("{warning}");
        report.warnings.push(warning);
    }
}

/// What `open` tells of the disk alone.
pub(super) fn tell_of_disk(zfs: &Libzfs, device: &Device, pool: &PoolName, report: &mut Report) {
    let patients = Patients {
        zfs,
        device,
        disk_pool: pool,
        host: None,
    };
    patients.tell(report, &mut Vec::new());
}
