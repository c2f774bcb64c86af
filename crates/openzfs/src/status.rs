//! The state of a pool as owned facts, read out of its configuration list.

use std::collections::BTreeSet;
use std::fmt;
use std::mem::offset_of;
use std::path::PathBuf;

use super::error::{Error, ErrorKind};
use super::nvlist::{NvListRef, Value};
use super::pool::text_of;
use crate::ffi;
use crate::name::{Guid, PoolName};

/// `SPA_MINBLOCKSHIFT`
const SMALLEST_SECTOR_SHIFT: u64 = 9;

/// How a pool or device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Health {
    /// All is well.
    Online,
    /// It works, with less redundancy.
    Degraded,
    /// Taken out of use after too many errors.
    Faulted,
    /// Taken offline by hand.
    Offline,
    /// Pulled out.
    Removed,
    /// Cannot be opened.
    Unavailable,
    /// The pool waits for its device: calls about it do not return until the device is back.
    Suspended,
    /// A state that this program does not know.
    Unknown,
}

impl Health {
    /// The state with libzfs' name `text`, such as `ONLINE`.
    pub(super) fn from_text(text: &str) -> Self {
        match text {
            "ONLINE" => Self::Online,
            "DEGRADED" => Self::Degraded,
            "FAULTED" => Self::Faulted,
            "OFFLINE" => Self::Offline,
            "REMOVED" => Self::Removed,
            "UNAVAIL" => Self::Unavailable,
            "SUSPENDED" => Self::Suspended,
            _ => Self::Unknown,
        }
    }

    /// The state behind a `vdev_state_t`.
    fn from_vdev_state(state: u64) -> Self {
        match u32::try_from(state).unwrap_or(u32::MAX) {
            ffi::VDEV_STATE_HEALTHY => Self::Online,
            ffi::VDEV_STATE_DEGRADED => Self::Degraded,
            ffi::VDEV_STATE_FAULTED => Self::Faulted,
            ffi::VDEV_STATE_OFFLINE => Self::Offline,
            ffi::VDEV_STATE_REMOVED => Self::Removed,
            ffi::VDEV_STATE_CANT_OPEN | ffi::VDEV_STATE_CLOSED => Self::Unavailable,
            _ => Self::Unknown,
        }
    }
}

/// As libzfs spells it.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Online => "ONLINE",
            Self::Degraded => "DEGRADED",
            Self::Faulted => "FAULTED",
            Self::Offline => "OFFLINE",
            Self::Removed => "REMOVED",
            Self::Unavailable => "UNAVAIL",
            Self::Suspended => "SUSPENDED",
            Self::Unknown => "in an unknown state",
        })
    }
}

/// A pool's state at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// Its name here.
    pub name: PoolName,
    /// Its identity.
    pub guid: Guid,
    /// How it is.
    pub health: Health,
    /// How it is, as libzfs spells it, such as `ONLINE`.
    pub health_text: String,
    /// Imported read-only.
    pub readonly: bool,
    /// Directory below which its mountpoints lie; `None` if there is none.
    pub altroot: Option<PathBuf>,
    /// Raw size, bytes.
    pub size_bytes: u64,
    /// Raw space in use, bytes.
    pub allocated_bytes: u64,
    /// Raw space not in use, bytes.
    pub free_bytes: u64,
    /// The smallest unit in which it allocates, bytes: the sector of its devices.
    pub sector_bytes: u64,
    /// Short names of the features that are enabled (active ones are too), such as `bookmark_v2`.
    pub features: BTreeSet<String>,
    /// Short names of the features in use.
    pub active_features: BTreeSet<String>,
    /// The host that has it imported, as in its label; `None` if that host has no hostid.
    pub hostid: Option<u64>,
    /// That host's name.
    pub hostname: Option<String>,
    /// Files and metadata known to be damaged.
    pub data_errors: u64,
    /// Devices that it is on.
    pub vdevs: Vec<VdevStatus>,
    /// The last scrub or resilver; `None` if there was none.
    pub scan: Option<ScanStatus>,
}

impl PoolStatus {
    /// An empty pool that is online, with nothing remarkable: to be changed into what a test needs.
    pub fn new(name: PoolName, guid: Guid) -> Self {
        Self {
            name,
            guid,
            health: Health::Online,
            health_text: "ONLINE".into(),
            readonly: false,
            altroot: None,
            size_bytes: 0,
            allocated_bytes: 0,
            free_bytes: 0,
            sector_bytes: 512,
            features: BTreeSet::new(),
            active_features: BTreeSet::new(),
            hostid: None,
            hostname: None,
            data_errors: 0,
            vdevs: Vec::new(),
            scan: None,
        }
    }
}

/// A device or file of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VdevStatus {
    /// Its path, as the pool was imported.
    pub path: Option<PathBuf>,
    /// Its identity.
    pub guid: Guid,
    /// How it is.
    pub health: Health,
    /// Failed reads since import or clear.
    pub read_errors: u64,
    /// Failed writes since import or clear.
    pub write_errors: u64,
    /// Blocks with a wrong checksum since import or clear.
    pub checksum_errors: u64,
}

impl VdevStatus {
    /// A device that has had no errors: to be changed into what a test needs.
    pub fn new(path: PathBuf, guid: Guid, health: Health) -> Self {
        Self {
            path: Some(path),
            guid,
            health,
            read_errors: 0,
            write_errors: 0,
            checksum_errors: 0,
        }
    }

    /// True if the pool has to work without it.
    pub fn is_missing(&self) -> bool {
        matches!(
            self.health,
            Health::Unavailable | Health::Removed | Health::Offline | Health::Faulted
        )
    }
}

/// Its path, or else its guid.
impl fmt::Display for VdevStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => path.display().fmt(f),
            None => write!(f, "the device with guid {}", self.guid),
        }
    }
}

/// A file, or another part of a pool, that is known to be damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The dataset or snapshot that it is in; `<metadata>` for the pool's own.
    pub dataset: String,
    /// Its path from the root of the file system, or an object number such as `<0x1a>` if it has none.
    pub file: String,
}

impl Damage {
    /// Parsed from `tank/home@monday:/a/b`, as libzfs names it.
    pub(super) fn from_text(text: &str) -> Self {
        let ends = [":/", ":<"];
        let end = ends.iter().filter_map(|end| text.find(end)).min();
        let (dataset, file) = end.map_or((text, ""), |end| (&text[..end], &text[end + 1..]));
        Self {
            dataset: dataset.to_owned(),
            file: file.to_owned(),
        }
    }
}

/// The kind of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScanFunction {
    /// Reads everything to verify it.
    Scrub,
    /// Fills a replaced device.
    Resilver,
}

/// How far a scan came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScanState {
    /// It is running.
    Scanning,
    /// Somebody has paused it. It continues only when it is started again.
    Paused,
    /// It has completed.
    Finished,
    /// It was stopped before its end.
    Canceled,
}

/// The last scrub or resilver of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanStatus {
    /// What it did.
    pub function: ScanFunction,
    /// How far it came.
    pub state: ScanState,
    /// When it began, seconds since the epoch.
    pub start_seconds: u64,
    /// When it ended, seconds since the epoch; `None` while it runs, and until the transaction group
    /// in which it ends is written.
    pub end_seconds: Option<u64>,
    /// Bytes to look at.
    pub to_examine_bytes: u64,
    /// Bytes looked at.
    pub examined_bytes: u64,
    /// Errors that it could not repair.
    pub errors: u64,
}

impl ScanStatus {
    /// A scan that found nothing wrong: to be changed into what a test needs.
    pub fn new(function: ScanFunction, state: ScanState, end_seconds: Option<u64>) -> Self {
        Self {
            function,
            state,
            start_seconds: 0,
            end_seconds,
            to_examine_bytes: 0,
            examined_bytes: 0,
            errors: 0,
        }
    }
}

/// What is known of a pool from other sources than its configuration.
pub(super) struct PoolFacts {
    pub(super) name: PoolName,
    pub(super) guid: Guid,
    pub(super) health_text: String,
    pub(super) is_readonly: bool,
    pub(super) altroot: Option<PathBuf>,
}

pub(super) fn pool_status(facts: PoolFacts, config: NvListRef<'_>) -> Result<PoolStatus, Error> {
    // Pools from before feature flags have none.
    let features = config.lookup_list(text_of(ffi::ZPOOL_CONFIG_FEATURE_STATS));
    let root = vdev_tree(config)?;
    let root_stats = stats_of(root)?;
    let size_bytes = root_stats.word(offset_of!(ffi::vdev_stat_t, vs_space))?;
    let allocated_bytes = root_stats.word(offset_of!(ffi::vdev_stat_t, vs_alloc))?;
    Ok(PoolStatus {
        health: Health::from_text(&facts.health_text),
        name: facts.name,
        guid: facts.guid,
        health_text: facts.health_text,
        readonly: facts.is_readonly,
        altroot: facts.altroot,
        size_bytes,
        allocated_bytes,
        free_bytes: size_bytes.saturating_sub(allocated_bytes),
        sector_bytes: sector_bytes(root),
        features: feature_names(features, |_| true),
        active_features: feature_names(features, |references| references > 0),
        hostid: config
            .lookup_u64(text_of(ffi::ZPOOL_CONFIG_HOSTID))
            .filter(|&id| id != 0),
        hostname: config
            .lookup_text(text_of(ffi::ZPOOL_CONFIG_HOSTNAME))
            .map(std::borrow::Cow::into_owned),
        data_errors: config
            .lookup_u64(text_of(ffi::ZPOOL_CONFIG_ERRCOUNT))
            .unwrap_or(0),
        vdevs: leaf_vdevs(config)?,
        scan: scan_status(root),
    })
}

/// The smallest of what the top-level devices say.
fn sector_bytes(root: NvListRef<'_>) -> u64 {
    let devices = root.lookup_lists(text_of(ffi::ZPOOL_CONFIG_CHILDREN));
    smallest_sector(
        devices
            .into_iter()
            .flatten()
            .filter_map(|device| device.lookup_u64(text_of(ffi::ZPOOL_CONFIG_ASHIFT))),
    )
}

/// Holes, which stand for removed devices, have no usable shift.
fn smallest_sector(shifts: impl Iterator<Item = u64>) -> u64 {
    let shifts = shifts.filter(|&shift| (SMALLEST_SECTOR_SHIFT..u64::BITS.into()).contains(&shift));
    1 << shifts.min().unwrap_or(SMALLEST_SECTOR_SHIFT)
}

/// The devices at the leaves of the vdev tree, log, cache and spare devices too.
pub(super) fn leaf_vdevs(config: NvListRef<'_>) -> Result<Vec<VdevStatus>, Error> {
    let mut leaves = Vec::new();
    collect_leaves(vdev_tree(config)?, &mut leaves)?;
    Ok(leaves)
}

/// The health that the pool as a whole has or would have.
pub(super) fn root_health(config: NvListRef<'_>) -> Result<Health, Error> {
    let stats = stats_of(vdev_tree(config)?)?;
    stats
        .word(offset_of!(ffi::vdev_stat_t, vs_state))
        .map(Health::from_vdev_state)
}

fn collect_leaves(vdev: NvListRef<'_>, leaves: &mut Vec<VdevStatus>) -> Result<(), Error> {
    let parts = [
        ffi::ZPOOL_CONFIG_CHILDREN.as_slice(),
        ffi::ZPOOL_CONFIG_L2CACHE,
        ffi::ZPOOL_CONFIG_SPARES,
    ];
    let below: Vec<_> = parts
        .iter()
        .filter_map(|part| vdev.lookup_lists(text_of(part)))
        .flatten()
        .collect();
    if below.is_empty() {
        // Holes stand for removed log devices; they and other inner kinds have no path.
        if let Some(path) = vdev.lookup_text(text_of(ffi::ZPOOL_CONFIG_PATH)) {
            leaves.push(leaf(vdev, PathBuf::from(path.into_owned()))?);
        }
    }
    below
        .into_iter()
        .try_for_each(|child| collect_leaves(child, leaves))
}

fn leaf(vdev: NvListRef<'_>, path: PathBuf) -> Result<VdevStatus, Error> {
    let stats = stats_of(vdev)?;
    Ok(VdevStatus {
        path: Some(path),
        guid: Guid(
            vdev.lookup_u64(text_of(ffi::ZPOOL_CONFIG_GUID))
                .unwrap_or(0),
        ),
        health: Health::from_vdev_state(stats.word(offset_of!(ffi::vdev_stat_t, vs_state))?),
        read_errors: stats.word(offset_of!(ffi::vdev_stat_t, vs_read_errors))?,
        write_errors: stats.word(offset_of!(ffi::vdev_stat_t, vs_write_errors))?,
        checksum_errors: stats.word(offset_of!(ffi::vdev_stat_t, vs_checksum_errors))?,
    })
}

/// `vdev_stats`, a C struct of 64-bit words that arrives as an array of them.
///
/// Its layout is the installed headers'; the kernel's array may be longer or shorter.
struct VdevStats<'a>(&'a [u64]);

impl VdevStats<'_> {
    fn word(&self, offset_bytes: usize) -> Result<u64, Error> {
        self.0
            .get(offset_bytes / size_of::<u64>())
            .copied()
            .ok_or_else(|| {
                bad_config(
                    "the kernel module gives shorter device statistics than the libraries expect",
                )
            })
    }
}

fn stats_of(vdev: NvListRef<'_>) -> Result<VdevStats<'_>, Error> {
    vdev.lookup_u64s(text_of(ffi::ZPOOL_CONFIG_VDEV_STATS))
        .map(VdevStats)
        .ok_or_else(|| bad_config("it has a device without statistics"))
}

fn vdev_tree(config: NvListRef<'_>) -> Result<NvListRef<'_>, Error> {
    config
        .lookup_list(text_of(ffi::ZPOOL_CONFIG_VDEV_TREE))
        .ok_or_else(|| bad_config("it names no devices"))
}

fn bad_config(description: &str) -> Error {
    Error::found(
        "zpool_get_config",
        "pool configuration",
        ErrorKind::Other,
        description,
    )
}

/// Features come as `com.datto:bookmark_v2` with the number of their users; the part after the
/// colon is the name that `zpool` shows.
fn feature_names(
    features: Option<NvListRef<'_>>,
    wanted: impl Fn(u64) -> bool,
) -> BTreeSet<String> {
    features
        .into_iter()
        .flat_map(NvListRef::pairs)
        .filter(|(_, value)| matches!(value, Value::U64(references) if wanted(*references)))
        .map(|(guid, _)| guid.rsplit(':').next().unwrap_or_default().to_owned())
        .collect()
}

fn scan_status(root: NvListRef<'_>) -> Option<ScanStatus> {
    let words = root.lookup_u64s(text_of(ffi::ZPOOL_CONFIG_SCAN_STATS))?;
    let word = |offset_bytes: usize| words.get(offset_bytes / size_of::<u64>()).copied();
    let small = |offset_bytes| word(offset_bytes).and_then(|number| u32::try_from(number).ok());
    let function = match small(offset_of!(ffi::pool_scan_stat_t, pss_func))? {
        ffi::POOL_SCAN_SCRUB => ScanFunction::Scrub,
        ffi::POOL_SCAN_RESILVER => ScanFunction::Resilver,
        _ => return None,
    };
    // The time of the pause. Only scrubs can be paused.
    let paused_at = word(offset_of!(ffi::pool_scan_stat_t, pss_pass_scrub_pause));
    let is_paused = paused_at.is_some_and(|at| at != 0) && function == ScanFunction::Scrub;
    let state = match small(offset_of!(ffi::pool_scan_stat_t, pss_state))? {
        ffi::DSS_SCANNING if is_paused => ScanState::Paused,
        ffi::DSS_SCANNING => ScanState::Scanning,
        ffi::DSS_FINISHED => ScanState::Finished,
        ffi::DSS_CANCELED => ScanState::Canceled,
        _ => return None,
    };
    Some(ScanStatus {
        function,
        state,
        start_seconds: word(offset_of!(ffi::pool_scan_stat_t, pss_start_time))?,
        end_seconds: word(offset_of!(ffi::pool_scan_stat_t, pss_end_time)).filter(|&end| end != 0),
        to_examine_bytes: word(offset_of!(ffi::pool_scan_stat_t, pss_to_examine))?,
        examined_bytes: word(offset_of!(ffi::pool_scan_stat_t, pss_examined))?,
        errors: word(offset_of!(ffi::pool_scan_stat_t, pss_errors))?,
    })
}

#[cfg(test)]
mod tests {
    //! Configurations made by hand: what the kernel gives is tested in the test machine.

    use super::*;
    use crate::NvList;

    fn vdev(path: Option<&str>, state: u32, errors: [u64; 3]) -> NvList {
        let mut words = vec![0; size_of::<ffi::vdev_stat_t>() / 8];
        words[offset_of!(ffi::vdev_stat_t, vs_state) / 8] = state.into();
        words[offset_of!(ffi::vdev_stat_t, vs_read_errors) / 8] = errors[0];
        words[offset_of!(ffi::vdev_stat_t, vs_write_errors) / 8] = errors[1];
        words[offset_of!(ffi::vdev_stat_t, vs_checksum_errors) / 8] = errors[2];
        let mut vdev = NvList::new();
        vdev.add_u64s("vdev_stats", &words).unwrap();
        vdev.add_u64("guid", 5).unwrap();
        if let Some(path) = path {
            vdev.add_text("path", path).unwrap();
        }
        vdev
    }

    #[test]
    fn a_leaf_shows_its_errors() {
        let mut config = NvList::new();
        let leaf = vdev(Some("/dev/sda1"), ffi::VDEV_STATE_FAULTED, [1, 2, 3]);
        config.add_list("vdev_tree", leaf.view()).unwrap();
        let leaves = leaf_vdevs(config.view()).unwrap();
        assert_eq!(leaves.len(), 1);
        assert_eq!(
            leaves[0].path.as_deref(),
            Some(std::path::Path::new("/dev/sda1"))
        );
        assert_eq!(leaves[0].health, Health::Faulted);
        let leaf = &leaves[0];
        assert_eq!(
            (leaf.read_errors, leaf.write_errors, leaf.checksum_errors),
            (1, 2, 3)
        );
    }

    #[test]
    fn a_paused_scrub_is_told_from_one_that_runs() {
        let mut words = vec![0; size_of::<ffi::pool_scan_stat_t>() / 8];
        words[offset_of!(ffi::pool_scan_stat_t, pss_func) / 8] = ffi::POOL_SCAN_SCRUB.into();
        words[offset_of!(ffi::pool_scan_stat_t, pss_state) / 8] = ffi::DSS_SCANNING.into();
        let paused_at = offset_of!(ffi::pool_scan_stat_t, pss_pass_scrub_pause) / 8;
        for (at, expected) in [(0, ScanState::Scanning), (7, ScanState::Paused)] {
            words[paused_at] = at;
            let mut root = NvList::new();
            root.add_u64s("scan_stats", &words).unwrap();
            assert_eq!(scan_status(root.view()).unwrap().state, expected);
        }
    }

    #[test]
    fn a_damage_has_a_dataset_and_a_file() {
        for (text, dataset, file) in [
            ("tank/home:/a b/c:/d", "tank/home", "/a b/c:/d"),
            ("tank/home@x:y:<0x12>", "tank/home@x:y", "<0x12>"),
            ("<metadata>:<0x3d>", "<metadata>", "<0x3d>"),
            ("<0x36>:<0x3d>", "<0x36>", "<0x3d>"),
        ] {
            let damage = Damage::from_text(text);
            assert_eq!((&*damage.dataset, &*damage.file), (dataset, file));
        }
    }

    #[test]
    fn the_sector_is_the_smallest_of_the_devices() {
        assert_eq!(smallest_sector([13, 12, 0].into_iter()), 4096);
        assert_eq!(smallest_sector([0].into_iter()), 512);
        assert_eq!(smallest_sector(std::iter::empty()), 512);
    }

    #[test]
    fn a_configuration_without_devices_is_an_error() {
        assert!(leaf_vdevs(NvList::new().view()).is_err());
    }

    #[test]
    fn short_statistics_are_an_error() {
        let mut short = NvList::new();
        short.add_u64s("vdev_stats", &[0, 7]).unwrap();
        short.add_text("path", "/dev/sda1").unwrap();
        let mut config = NvList::new();
        config.add_list("vdev_tree", short.view()).unwrap();
        assert!(leaf_vdevs(config.view()).is_err());
    }

    #[test]
    fn features_lose_their_prefix() {
        let mut features = NvList::new();
        features.add_u64("com.datto:bookmark_v2", 0).unwrap();
        features.add_u64("org.open-zfs:large_blocks", 3).unwrap();
        let names = |wanted: fn(u64) -> bool| {
            feature_names(Some(features.view()), wanted)
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(names(|_| true), ["bookmark_v2", "large_blocks"]);
        assert_eq!(names(|references| references > 0), ["large_blocks"]);
    }
}
