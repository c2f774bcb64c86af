//! A pool's own log of its past.
//!
//! Every pool keeps a log of what was done to its datasets, each entry with its transaction group. It
//! is a ring of a thousandth of the pool's size: the oldest entries are overwritten. What precedes the
//! first command (as a rule `zpool create`) stays for ever, and comes first.

use super::error::Error;
use super::nvlist::{NvList, NvListRef};
use super::pool::{Pool, text_of};
use crate::ffi;
use crate::name::Createtxg;

/// The part of the log that tells how datasets came to their contents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolHistory {
    /// Nothing from here on was overwritten; `None` if that cannot be told.
    pub first: Option<Createtxg>,
    /// Oldest first.
    pub entries: Vec<HistoryEntry>,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// When it happened.
    pub txg: Createtxg,
    /// The dataset's full name at that time, with its pool's name at that time.
    pub dataset: String,
    /// What happened.
    pub event: HistoryEvent,
}

/// What can happen to a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistoryEvent {
    /// It took what was received beside it: on top of its contents, or in place of them.
    Received,
    /// It was given this full name.
    RenamedTo(String),
    /// It was made of a snapshot of this dataset.
    ClonedFrom(String),
}

/// Where the kernel receives into a dataset that exists.
const RECEIVED_BESIDE: &str = "/%recv";

impl Pool<'_> {
    /// Reads the log.
    #[doc(alias = "zpool_get_history")]
    pub fn history(&self) -> Result<PoolHistory, Error> {
        let mut history = PoolHistory::default();
        let mut is_in_ring = false;
        let (mut offset, mut is_end) = (0_u64, ffi::B_FALSE);
        while is_end == ffi::B_FALSE {
            let mut raw = std::ptr::null_mut();
            // SAFETY: the handle is open; the others are places to write to. The list, which is
            // written if the call succeeds, is ours to free.
            let (code, records) = unsafe {
                let code = ffi::zpool_get_history(
                    self.as_ptr(),
                    &raw mut raw,
                    &raw mut offset,
                    &raw mut is_end,
                );
                (code, NvList::from_raw(raw))
            };
            if code != 0 {
                return Err(self.last_error("zpool_get_history"));
            }
            let records = records.as_ref().map(NvList::view);
            let records =
                records.and_then(|list| list.lookup_lists(text_of(ffi::ZPOOL_HIST_RECORD)));
            for record in records.into_iter().flatten() {
                if !is_in_ring && record.lookup_text(text_of(ffi::ZPOOL_HIST_CMD)).is_some() {
                    is_in_ring = true;
                    // However many entries were overwritten, the next one follows those that stay for ever.
                    history.first = None;
                }
                history.add(record);
            }
        }
        Ok(history)
    }
}

impl PoolHistory {
    /// Notes a record. Records of commands carry no transaction group, and tell nothing that the
    /// kernel's own do not.
    fn add(&mut self, record: NvListRef<'_>) {
        let Some(txg) = record
            .lookup_u64(text_of(ffi::ZPOOL_HIST_TXG))
            .map(Createtxg)
        else {
            return;
        };
        self.first.get_or_insert(txg);
        let text = |name| record.lookup_text(text_of(name)).unwrap_or_default();
        let dataset = text(ffi::ZPOOL_HIST_DSNAME);
        let found = event(
            &text(ffi::ZPOOL_HIST_INT_NAME),
            &dataset,
            &text(ffi::ZPOOL_HIST_INT_STR),
        );
        self.entries
            .extend(found.map(|(dataset, event)| HistoryEntry {
                txg,
                dataset: dataset.to_owned(),
                event,
            }));
    }
}

/// The dataset that a record is about, and what happened to it; `None` for anything else.
fn event<'a>(operation: &str, dataset: &'a str, text: &str) -> Option<(&'a str, HistoryEvent)> {
    match operation {
        // A rollback swaps too, under a name of its own. It is refused while there are bookmarks of
        // what it would undo, so it leaves none behind.
        "clone swap" => Some((
            dataset.strip_suffix(RECEIVED_BESIDE)?,
            HistoryEvent::Received,
        )),
        "rename" if !dataset.contains('@') => {
            let new = text.strip_prefix("-> ")?;
            Some((dataset, HistoryEvent::RenamedTo(new.to_owned())))
        }
        "clone" => {
            let (origin, _) = text.strip_prefix("origin=")?.split_once('@')?;
            Some((dataset, HistoryEvent::ClonedFrom(origin.to_owned())))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_the_kernel_writes_them() {
        for (operation, dataset, text, expected) in [
            (
                "clone swap",
                "tank/home/%recv",
                "parent=home",
                Some(("tank/home", HistoryEvent::Received)),
            ),
            ("clone swap", "tank/home/%rollback", "parent=home", None),
            (
                "rename",
                "tank/home",
                "-> tank/away",
                Some(("tank/home", HistoryEvent::RenamedTo("tank/away".into()))),
            ),
            ("rename", "tank/home@a", "-> @b", None),
            (
                "clone",
                "tank/new",
                "origin=tank/home@a (271)",
                Some(("tank/new", HistoryEvent::ClonedFrom("tank/home".into()))),
            ),
            ("destroy", "tank/home@a", " ", None),
        ] {
            assert_eq!(
                event(operation, dataset, text),
                expected,
                "{operation} {dataset}"
            );
        }
    }
}
