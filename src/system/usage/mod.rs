//! What uses a dataset, a block device or a mount, and how to end that.

mod above;

use std::fmt;
use std::path::Path;

use openzfs::{DatasetKind, DatasetName, PoolName};

use super::mounts::{Mount, Table};
use super::users::{self, Elsewhere, User};
use super::{devices, statistics};
use crate::next::next;
use crate::text::shell_word;
use above::Above;

/// Something is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    words: String,
    ends: Vec<String>,
}

impl InUse {
    /// In use by this, in words.
    pub fn by(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            ends: Vec::new(),
        }
    }

    /// Adds what ends it, after what has to be ended before.
    #[must_use]
    pub fn until(mut self, ends: impl IntoIterator<Item = String>) -> Self {
        self.ends.extend(ends);
        self
    }

    /// The same, for something further below.
    #[must_use]
    pub(super) fn seen_from(self, words: impl FnOnce(String) -> String) -> Self {
        Self {
            words: words(self.words),
            ends: self.ends,
        }
    }

    /// What to do to end it, one step each, in this order. Empty if that is not known.
    pub fn ends(&self) -> &[String] {
        &self.ends
    }
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<String> for InUse {
    fn from(words: String) -> Self {
        Self::by(words)
    }
}

impl From<InUse> for String {
    fn from(in_use: InUse) -> Self {
        in_use.words
    }
}

/// Tells how to end these mounts.
pub fn unmounted<'a>(mounts: impl IntoIterator<Item = &'a Mount>) -> Vec<String> {
    let unmount = |mount: &Mount| next!("end-mount", "Unmount it (umount {}).", typed(&mount.path));
    mounts.into_iter().map(unmount).collect()
}

/// Tells how to end these programs.
fn ended(users: &[User]) -> [String; 1] {
    [next!("end-program", "End {}.", users::names(users))]
}

fn ended_elsewhere(elsewhere: &Elsewhere) -> [String; 1] {
    let (user, pid) = (elsewhere.user(), elsewhere.user().pid());
    [next!(
        "end-elsewhere",
        // Not nsenter, which would start whatever is called umount there.
        "End {user}, or unmount it there (umount -N {pid} {}).",
        typed(&elsewhere.mount.path)
    )]
}

/// A path as it is typed into a shell.
fn typed(path: &Path) -> String {
    shell_word(&path.display())
}

/// What uses a mount that the kernel says is busy.
pub fn of_mount(mount: &Mount) -> InUse {
    let table = Table::read().unwrap_or_default();
    match Above::new(&table).check_path(&mount.path) {
        Err(in_use) => in_use,
        Ok(()) => InUse::by(
            "something of the kernel uses it, such as a mount within it that no path leads to",
        ),
    }
}

/// Fails if a zvol is mounted, belongs to a mapping, an array or a loop device, or is open. File systems
/// have no node, and neither have zvols with volmode=none.
pub fn check_zvol(dataset: &DatasetName) -> Result<(), InUse> {
    let link = devices::zvol_link(dataset);
    if !link.exists()
        && let Some(device) = devices::nameless_zvols().first()
    {
        return Err(InUse::by(next!(
            "nameless-zvol",
            "no link tells whether /dev/{device} is {dataset}, which may be in use (udev makes it: \
             `udevadm trigger --settle --subsystem-match=block`)"
        )));
    }
    check_node(&link)
}

/// Fails if a block device, to which this path or link leads, is in use.
pub fn check_node(link: &Path) -> Result<(), InUse> {
    let Ok(node) = link.canonicalize() else {
        return Ok(());
    };
    let table = Table::read().map_err(|error| error.to_string())?;
    let checked = Above::new(&table).check_device(&node);
    checked.map_err(|above| {
        above.seen_from(|words| format!("{} is in use: it {words}", link.display()))
    })
}

/// Fails if a file system that is not to be mounted here is mounted, here or in another mount namespace,
/// or open although it is no longer mounted anywhere.
pub fn check_file_system(dataset: &DatasetName) -> Result<(), InUse> {
    let is_mounted = users::is_mounted_anywhere(dataset);
    if !is_mounted.map_err(|error| format!("who has {dataset} mounted is unknown: {error}"))? {
        return Ok(());
    }
    let by = user_of(dataset).map_err(|error| error.to_string())?;
    Err(by.seen_from(|words| format!("{dataset} is in use: {words}")))
}

/// True for the mounts of a dataset, without those of its snapshots.
pub fn shows(mount: &Mount, dataset: &DatasetName) -> bool {
    mount.snapshot().is_none() && mount.dataset().as_ref() == Some(dataset)
}

fn user_of(dataset: &DatasetName) -> std::io::Result<InUse> {
    let here = Table::read()?;
    if let Some(mount) = here.all().iter().find(|mount| shows(mount, dataset)) {
        let words = format!("somebody has mounted it at {}", mount.path.display());
        return Ok(InUse::by(words).until(unmounted([mount])));
    }
    let elsewhere = users::mounted_elsewhere(|_, mount| shows(mount, dataset));
    if let Some(elsewhere) = elsewhere.first() {
        return Ok(InUse::by(elsewhere.to_string()).until(ended_elsewhere(elsewhere)));
    }
    let users = users::of_unseen(dataset);
    if !users.is_empty() {
        let words = format!(
            "it is mounted nowhere any more, and still open in {}",
            users::names(&users)
        );
        return Ok(InUse::by(words).until(ended(&users)));
    }
    let kept =
        |mount: &&Mount| mount.kind == "nsfs" && mount.root.to_string_lossy().contains("mnt:[");
    Ok(match here.all().iter().find(kept) {
        Some(kept) => InUse::by(format!(
            "a mount namespace without processes has it mounted, such as the one at {}",
            kept.path.display()
        ))
        .until(unmounted([kept])),
        None => InUse::by(
            "no process has it mounted, but something of the kernel, such as an overlay whose layer it is",
        )
        .until([next!(
            "end-overlay",
            "See which overlay has it as a layer (findmnt -t overlay -o TARGET,OPTIONS), and unmount that."
        )]),
    })
}

/// Fails if something uses a pool of which nothing should be mounted: its zvols, its file systems,
/// or the pool itself.
pub fn check_pool(pool: &PoolName) -> Result<(), InUse> {
    let zvols = devices::zvols(pool);
    for link in zvols.values() {
        check_node(link)?;
    }
    for (dataset, kind) in statistics::datasets_of(pool).unwrap_or_default() {
        if kind == DatasetKind::Filesystem {
            check_file_system(&dataset)?;
        }
    }
    // Snapshots have no statistics.
    let is_of_pool = |mount: &Mount| {
        let dataset = mount.dataset();
        dataset.is_some_and(|dataset| dataset.is_within(&pool.root()))
    };
    if let Some(elsewhere) = users::mounted_elsewhere(|_, mount| is_of_pool(mount)).first() {
        return Err(InUse::by(elsewhere.to_string()).until(ended_elsewhere(elsewhere)));
    }
    let users = users::of_pool(pool);
    if !users.is_empty() {
        let words = format!("{} is at work in it", users::names(&users));
        return Err(InUse::by(words).until(ended(&users)));
    }
    Ok(())
}
