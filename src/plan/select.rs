//! Which volumes a run carries.

use std::collections::BTreeSet;

use crate::model::VolumePath;

/// Why the command line's volumes cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// It is neither configured nor below a recursive one.
    #[error("{volume} is not configured; configured are: {}", list(.configured))]
    NotConfigured {
        /// What was asked for.
        volume: VolumePath,
        /// What the configuration lists.
        configured: Vec<VolumePath>,
    },
    /// The configuration's `exclude` covers it.
    #[error("{volume} is left out by `exclude`")]
    Excluded {
        /// What was asked for.
        volume: VolumePath,
    },
}

fn list(volumes: &[VolumePath]) -> String {
    let names: Vec<_> = volumes.iter().map(VolumePath::as_str).collect();
    names.join(", ")
}

/// The volumes of this run, in the configuration's order, each once, children after their parent.
///
/// `configured` is the `volume` list; with `recursive` each brings its children among `existing`,
/// the volumes that the source holds. What `exclude` matches is left out with all that recursion
/// would find below it. `requested` (the command line; empty means everything) picks among these, a
/// volume with its children if `recursive` is on. A volume that does not exist on the source stays
/// in the list, so that the plan can report it.
///
/// # Errors
///
/// If a requested volume is not among the selected ones.
pub fn select(
    configured: &[VolumePath],
    recursive: bool,
    exclude: impl Fn(&VolumePath) -> bool,
    requested: &[VolumePath],
    existing: &BTreeSet<VolumePath>,
) -> Result<Vec<VolumePath>, SelectError> {
    // Requested children need not exist: that is for the plan to say.
    let candidates: BTreeSet<_> = existing.iter().chain(requested).collect();
    let mut selected: Vec<VolumePath> = Vec::new();
    let mut seen: BTreeSet<&VolumePath> = BTreeSet::new();
    for root in configured {
        let children = candidates
            .iter()
            .filter(|child| recursive && *child != &root && child.is_within(root));
        for volume in std::iter::once(root).chain(children.copied()) {
            if !is_excluded(volume, root, &exclude) && seen.insert(volume) {
                selected.push(volume.clone());
            }
        }
    }
    let is_picked = |volume: &VolumePath, request: &VolumePath| {
        volume == request || recursive && volume.is_within(request)
    };
    for request in requested {
        if !seen.contains(request) {
            return Err(not_selected(request, configured, recursive));
        }
    }
    selected.retain(|volume| {
        requested.is_empty() || requested.iter().any(|request| is_picked(volume, request))
    });
    Ok(selected)
}

/// True if `exclude` matches `volume` or one of its parents down from `root`.
fn is_excluded(
    volume: &VolumePath,
    root: &VolumePath,
    exclude: impl Fn(&VolumePath) -> bool,
) -> bool {
    let path = volume.as_str();
    let parents = path
        .match_indices('/')
        .skip(1)
        .map(|(end, _)| VolumePath::new(&path[..end]).expect("a part of a valid path is valid"));
    parents
        .filter(|parent| parent.is_within(root))
        .chain([volume.clone()])
        .any(|level| exclude(&level))
}

fn not_selected(request: &VolumePath, configured: &[VolumePath], recursive: bool) -> SelectError {
    let volume = request.clone();
    let covered = configured
        .iter()
        .any(|root| request == root || recursive && request.is_within(root));
    if covered {
        SelectError::Excluded { volume }
    } else {
        SelectError::NotConfigured {
            volume,
            configured: configured.to_vec(),
        }
    }
}
