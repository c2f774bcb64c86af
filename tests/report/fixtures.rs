//! Plans and reports to render.

use openzfs::{DatasetKind, DatasetName, Guid, PoolName, ResumeState, SnapshotName};
use zbackup::model::VolumePath;
use zbackup::plan::{
    Action, Base, BaseSource, Direction, Overwrite, Plan, Point, Remedies, Retention, Step,
    Transfer, UpToDate, VolumePlan,
};
use zbackup::report::style::Style;
use zbackup::report::{DiskReport, DiskState, HostReport, Outcome, Report, VolumeReport};

/// A guid that a reader of JSON numbers would round.
pub const BASE_GUID: Guid = Guid((1 << 53) + 1);

pub fn dataset(name: &str) -> DatasetName {
    DatasetName::new(name).unwrap()
}

pub fn snapshots(dataset: &str, numbers: std::ops::RangeInclusive<u32>) -> Vec<SnapshotName> {
    let names = numbers.map(|number| format!("{dataset}@hourly-{number}"));
    names
        .map(|name| SnapshotName::new(&name).unwrap())
        .collect()
}

pub fn host() -> HostReport {
    HostReport {
        section: "host1".into(),
        pool: PoolName::new("tank").unwrap(),
        guid: Guid(14_531_453),
        health: None,
    }
}

pub fn disk() -> DiskReport {
    DiskReport {
        section: "USB device".into(),
        partuuid: "0f3a-01".into(),
        pool: Some(PoolName::new("backup").unwrap()),
        guid: Some(Guid(u64::MAX)),
        encryption: Some("truecrypt".into()),
        health: None,
    }
}

/// The plan for one volume of tank, on its way to the pool backup.
pub fn volume(path: &str, action: Action, estimated_bytes: Option<u64>) -> VolumePlan {
    VolumePlan {
        volume: VolumePath::new(path).unwrap(),
        source: dataset(&format!("tank{path}")),
        target: dataset(&format!("backup{path}")),
        action,
        waits_for: None,
        refusal: None,
        stored_bytes: estimated_bytes,
        remedies: Remedies::default(),
        estimated_bytes,
        retention: Retention::default(),
        forgets: Vec::new(),
    }
}

pub fn up_to_date(path: &str) -> VolumePlan {
    let newest = SnapshotName::new(&format!("tank{path}@zbackup-2026-11-21")).unwrap();
    volume(path, Action::UpToDate(UpToDate::Equal(newest)), None)
}

/// One stream to this run's snapshot, incremental or full.
pub fn transfer(path: &str, is_incremental: bool, overwrite: Overwrite) -> Transfer {
    let snapshot = |short: &str| SnapshotName::new(&format!("tank{path}@{short}")).unwrap();
    let base = is_incremental.then(|| Base {
        guid: BASE_GUID,
        source: BaseSource::Snapshot(snapshot("zbackup-2026-11-21")),
        label: "zbackup-2026-11-21".into(),
    });
    Transfer {
        kind: DatasetKind::Filesystem,
        raw: false,
        steps: vec![Step {
            base,
            to: Point::New(snapshot("zbackup-2026-11-22")),
            resume: None,
        }],
        overwrite,
        stale_bookmarks: Vec::new(),
        drops_resume_state: false,
        left_out: 0,
        new_key: false,
    }
}

/// An interrupted receive after `received_bytes`.
pub fn resume_state(received_bytes: u64) -> ResumeState {
    ResumeState {
        token: "1-e604ea4bf-e0".into(),
        to_name: "tank/home@zbackup-2026-11-22".into(),
        to_guid: Guid(7),
        from_guid: Some(BASE_GUID),
        object: 1,
        offset: 0,
        received_bytes,
        large_blocks: true,
        embedded: true,
        compressed: true,
        raw: false,
    }
}

pub fn plan(volumes: Vec<VolumePlan>) -> Plan {
    Plan {
        direction: Direction::ToDisk,
        renames: Vec::new(),
        snapshot: Some("zbackup-2026-11-22".into()),
        placeholders: Vec::new(),
        room: Vec::new(),
        volumes,
    }
}

/// A run of `usb` that closed the disk and may be ended.
pub fn report(volumes: Vec<VolumeReport>) -> Report {
    Report {
        host: Some(host()),
        disk: Some(disk()),
        volumes,
        disk_state: DiskState::Closed,
        safe_to_unplug: true,
        ..Report::new("usb", false)
    }
}

/// `volume` as it is after it was sent.
pub fn sent(volume: VolumePlan, sent_bytes: u64, seconds: f64) -> VolumeReport {
    let report = zbackup::report::from_plan(&plan(vec![volume])).remove(0);
    VolumeReport {
        outcome: Outcome::Done,
        snapshot_guid: Some(Guid(u64::MAX - 1)),
        sent_bytes,
        seconds,
        ..report
    }
}

pub fn columns(width: usize) -> Style {
    Style {
        width: Some(width),
        color: false,
    }
}
