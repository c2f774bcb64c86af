//! The short name of the snapshot that a run takes, the same for all of its volumes.

use std::collections::BTreeSet;

use super::draft::Draft;
use super::types::{Policy, Stamp};

/// `zbackup-DATE`, or `zbackup-TIME-DATE` if that is taken, then with a counter before the date.
///
/// Taken means: on the source or on the target of any volume that would get it. The target counts
/// because it may hold another host's snapshot of the same day. Names end in the date, for people.
pub(super) fn new_snapshot(drafts: &[Draft<'_>], policy: &Policy) -> String {
    let taken: BTreeSet<&str> = drafts
        .iter()
        .filter(|draft| draft.takes_snapshot())
        .flat_map(Draft::taken_names)
        .chain(policy.taken_names.iter().map(String::as_str))
        .collect();
    let Stamp { date, time } = &policy.now;
    let plain = [format!("zbackup-{date}"), format!("zbackup-{time}-{date}")];
    let counted = (2u64..).map(|count| format!("zbackup-{time}-{count}-{date}"));
    plain
        .into_iter()
        .chain(counted)
        .find(|name| !taken.contains(name.as_str()))
        .expect("a finite set leaves a number free")
}
