//! Unmounting datasets while they are replaced, and mounting them again as they were.
//!
//! A rename leaves mounts where they are, under the old name in every mount table: `df` and
//! `/proc/mounts` would show the name of what is by then another dataset.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use openzfs::{DatasetName, Guid};

use super::again::{Again, all_lost, moved};
use super::arrival;
use super::followers;
use super::places::Places;
use super::unmounted::{Down, Found, Note};
use crate::plan::Plan;
use crate::replicate::in_words;
use crate::replicate::target::usage;
use crate::replicate::zfs::Zfs;
use crate::system::mounts::{self, Mount, Stage, Table};
use crate::terminal::{Approval, Terminal};

/// Where the datasets were mounted that are unmounted now. A process that ends while it waits in
/// the kernel drops nothing, but can still tell this.
static DOWN: Mutex<BTreeMap<PathBuf, DatasetName>> = Mutex::new(BTreeMap::new());

/// What zbackup has unmounted and not yet mounted again.
pub fn taken_down() -> BTreeMap<PathBuf, DatasetName> {
    down().clone()
}

fn down() -> MutexGuard<'static, BTreeMap<PathBuf, DatasetName>> {
    DOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The unmounted mounts of a dataset and of everything below it. What is not mounted again when
/// this is dropped is mounted then, also if a panic ends the work.
pub(in crate::replicate) struct UnmountGuard<'a> {
    zfs: &'a dyn Zfs,
    top: DatasetName,
    note: Note,
    /// What earlier runs have noted of it and of the datasets below it, with their present names.
    waiting: Vec<(DatasetName, Note)>,
    /// The mounts, each after those on which it lies.
    mounts: Vec<Down>,
}

impl<'a> UnmountGuard<'a> {
    /// Unmounts `top` and everything below it, and says so. With `-v` it asks about each.
    ///
    /// # Errors
    /// If one of them is in use, here or in another mount namespace, or if the user declines. What
    /// was unmounted by then is mounted again.
    pub fn all_of(
        top: &DatasetName,
        zfs: &'a dyn Zfs,
        terminal: &Terminal,
    ) -> Result<Self, String> {
        let table = Table::read().map_err(in_words)?;
        let mut mounted = table.of_dataset(top);
        Table::parents_first(&mut mounted);
        usage::check_mounts(&table, &mounted, top)?;
        let waiting = Note::all_within(top, zfs).map_err(in_words)?;
        let mut taken = Self {
            zfs,
            top: top.clone(),
            waiting,
            note: note_of(top, &mounted, zfs)?,
            mounts: Vec::new(),
        };
        for mount in mounted.iter().rev() {
            if let Err(reason) = taken.take_down(mount, terminal) {
                return Err(taken.give_back(reason));
            }
        }
        let kind = zfs.dataset(top).ok().flatten().map(|found| found.kind);
        match kind.map_or(Ok(()), |kind| zfs.check_unused(top, kind)) {
            Ok(()) => Ok(taken),
            Err(reason) => Err(taken.give_back(reason)),
        }
    }

    fn take_down(&mut self, mount: &Mount, terminal: &Terminal) -> Result<(), String> {
        let Some(name) = mount.dataset() else {
            return Ok(());
        };
        let down_now = Down::of(mount, self.zfs)?;
        let shown = mount.path.display();
        let step = format!("unmount {shown} ({name}) for a moment");
        if terminal.approve(&step) == Approval::No {
            return Err(format!("declined: {step}"));
        }
        mounts::unmount(mount)?;
        terminal.say(&format!("Unmounted {shown} ({name}) for a moment"));
        log::info!("unmounted {shown}");
        // A snapshot below its dataset's mount is mounted automatically when somebody looks at it.
        if !mount.is_automatic() {
            down().insert(mount.path.clone(), name);
            self.mounts.insert(0, down_now);
        }
        Ok(())
    }

    /// Notes, for a later run, that the dataset is about to be renamed and keeps its mounts.
    pub fn moves_to(&mut self, name: &DatasetName) -> Result<(), String> {
        for (now, note) in &mut self.waiting {
            let later = moved(now, &self.top, name)?;
            note.moves_to(&later).map_err(|error| not_noted(&error))?;
        }
        self.noted(|note| note.moves_to(name))
    }

    /// Notes that the dataset with this guid is about to get its name and its mounts.
    pub fn is_replaced_by(&mut self, guid: Guid) -> Result<(), String> {
        let of_top = self.waiting.iter_mut().filter(|(now, _)| *now == self.top);
        for (_, note) in of_top {
            note.is_replaced_by(guid)
                .map_err(|error| not_noted(&error))?;
        }
        self.noted(|note| note.is_replaced_by(guid))
    }

    fn noted(
        &mut self,
        write: impl FnOnce(&mut Note) -> std::io::Result<()>,
    ) -> Result<(), String> {
        if self.mounts.is_empty() {
            return Ok(());
        }
        write(&mut self.note).map_err(|error| not_noted(&error))
    }

    /// Mounts everything again, at the same places. Returns what is not as it was, and what else the
    /// user should know.
    pub fn put_up(mut self) -> Vec<String> {
        let mounts = std::mem::take(&mut self.mounts);
        self.mount_all(&Places::unchanged(&mounts), &self.top)
    }

    /// The same, if the top dataset has been renamed to `to`: a mount at the place that its
    /// properties gave moves to the place that they give now. If a new dataset has the old name,
    /// programs would write into an empty directory until it is mounted, so it comes first.
    pub fn put_up_renamed(mut self, to: &DatasetName, plan: &Plan) -> Vec<String> {
        let mounts = std::mem::take(&mut self.mounts);
        let places = Places::find(&mounts, &self.top, to, Some(plan), self.zfs);
        let mut told = self.mount_new(&places.left);
        told.extend(self.mount_all(&places, to));
        for Down { mount, .. } in &mounts {
            down().remove(&mount.path);
        }
        told
    }

    /// Mounts the dataset that now has the name of the top dataset at the places that the latter has
    /// left. What cannot be mounted yet is left to the end of the run.
    fn mount_new(&self, left: &[Down]) -> Vec<String> {
        let zfs = self.zfs;
        let top = &self.top;
        let belongs =
            |down: &&Down| arrival::belongs_at(zfs, top, &down.mount.path).unwrap_or_default();
        let Some(down) = left.iter().find(belongs) else {
            return Vec::new();
        };
        let again = Again {
            from: top,
            to: top,
            since: self.note.since,
            zfs,
        };
        let mut told = again.mount(std::slice::from_ref(down));
        if let Err(why) = arrival::settle_mounted(zfs, top) {
            told.push(why);
        }
        told
    }

    /// Mounts everything again, and adds to `reason` what is not as it was.
    fn give_back(self, reason: String) -> String {
        let problems = self.put_up().into_iter();
        problems.fold(reason, |reason, problem| format!("{reason}; {problem}"))
    }

    fn mount_all(&self, places: &Places, to: &DatasetName) -> Vec<String> {
        let zfs = self.zfs;
        let mounts = &places.downs;
        let again = Again {
            from: &self.top,
            to,
            since: self.note.since,
            zfs,
        };
        let found = zfs.dataset(to).ok().flatten();
        let is_other = found
            .as_ref()
            .is_some_and(|found| !self.note.is_of(found.guid));
        let mut told = if is_other {
            let why =
                format!("{to} is another dataset by now; the next run mounts it if it is back");
            all_lost(mounts, &why)
        } else {
            again.mount(mounts)
        };
        told.extend(places.told.iter().cloned());
        told.extend(followers::settle(&self.note.followers, places));
        for Down { mount, .. } in mounts {
            down().remove(&mount.path);
        }
        // A dataset that does not exist here, or is locked, may be mounted by a later run.
        let waits = found.is_none() || is_other || again.lacks_key(mounts);
        if mounts.is_empty() || !waits {
            self.note.remove();
        }
        told
    }
}

impl Drop for UnmountGuard<'_> {
    fn drop(&mut self) {
        if self.mounts.is_empty() {
            return;
        }
        let mounts = std::mem::take(&mut self.mounts);
        for problem in self.mount_all(&Places::unchanged(&mounts), &self.top) {
            log::error!("{problem}");
        }
    }
}

/// The note of what is about to be unmounted, written down.
fn note_of(top: &DatasetName, mounted: &[&Mount], zfs: &dyn Zfs) -> Result<Note, String> {
    let stay = mounted.iter().filter(|mount| !mount.is_automatic());
    let downs: Vec<Down> = stay
        .map(|mount| Down::of(mount, zfs))
        .collect::<Result<_, _>>()?;
    let is_mounted = !downs.is_empty();
    let note = Note::new(top, downs, zfs)?;
    if is_mounted {
        note.write().map_err(|error| not_noted(&error))?;
    }
    Ok(note)
}

fn not_noted(error: &std::io::Error) -> String {
    format!("what is mounted cannot be noted for the next run: {error}")
}

/// Mounts again what killed runs have left unmounted. Returns what the user should know.
pub fn put_up_leftovers(zfs: &dyn Zfs, terminal: &Terminal, dry_run: bool) -> Vec<String> {
    if !dry_run {
        Stage::remove_leftovers();
    }
    let notes = Note::all().into_iter();
    notes
        .flat_map(|note| put_up_leftover(&note, zfs, terminal, dry_run))
        .collect()
}

/// The same for one dataset, which has its name back.
pub(in crate::replicate) fn put_up_left_of(
    top: &DatasetName,
    zfs: &dyn Zfs,
    terminal: &Terminal,
) -> Vec<String> {
    let notes = Note::all().into_iter();
    notes
        .filter(|note| note.top().as_ref() == Some(top))
        .flat_map(|note| put_up_leftover(&note, zfs, terminal, false))
        .collect()
}

fn listed(downs: &[Down]) -> String {
    let paths = downs.iter().map(|down| down.mount.path.display());
    paths
        .map(|path| path.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

fn put_up_leftover(note: &Note, zfs: &dyn Zfs, terminal: &Terminal, dry_run: bool) -> Vec<String> {
    let Some(top) = note.top() else {
        return Vec::new();
    };
    let were = listed(&note.mounts);
    let told = format!("an earlier run ended while {were} ({top}) was unmounted");
    let to = match note.find(zfs) {
        Ok(Found::At(to)) => to,
        Ok(Found::Nowhere) => {
            return vec![format!("{told}, and there is no {top} now to be put there")];
        }
        Ok(Found::Other) => {
            // Whoever made that dataset takes care of its mounts, and the noted dataset may come back.
            log::info!("{told}, and {top} is another dataset by now");
            return Vec::new();
        }
        Err(error) => return vec![format!("{told}: {error}")],
    };
    let places = Places::find(&note.mounts, &top, &to, None, zfs);
    let step = format!("mount {to} again at {}", listed(&places.downs));
    if dry_run || terminal.approve(&step) == Approval::No {
        return vec![format!("{told} and still is: the next run mounts it again")];
    }
    let again = Again {
        from: &top,
        to: &to,
        since: note.since,
        zfs,
    };
    let mut problems = again.mount(&places.downs);
    problems.extend(followers::settle(&note.followers, &places));
    problems.extend(places.told);
    if !again.lacks_key(&places.downs) {
        note.remove();
    }
    let is = if problems.is_empty() {
        "It is mounted again now"
    } else {
        "Not all is as it was"
    };
    std::iter::once(format!("{told}. {is}"))
        .chain(problems)
        .collect()
}
