//! Which volumes a section takes.

use std::fmt;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::model::VolumePath;

/// The volumes of a host, or those of one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The listed volumes, each once, at least one.
    pub volumes: Vec<VolumePath>,
    /// Take the volumes below the listed ones too. Default: no.
    pub recursive: bool,
    /// What is left out, even of the listed volumes. Default: nothing.
    pub exclude: Exclude,
}

impl Selection {
    /// True if this selection takes `volume`, whether it exists or not.
    pub fn takes(&self, volume: &VolumePath) -> bool {
        let listed = |top: &VolumePath| {
            if self.recursive {
                volume.is_within(top)
            } else {
                volume == top
            }
        };
        self.volumes.iter().any(listed) && !self.exclude.matches(volume)
    }
}

/// What a configuration does with a dataset of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It and everything below it is in a volume, or left out on purpose.
    Settled,
    /// It is a volume. What is below it may not be.
    Taken,
    /// The configuration does not mention it.
    Open,
}

/// What the selections of all disks together do with `volume`, given what the host leaves out.
pub fn fate(selections: &[&Selection], left_out: &Exclude, volume: &VolumePath) -> Fate {
    let is_settled = |selection: &&Selection| {
        let mut tops = selection.volumes.iter();
        selection.exclude.matches(volume)
            || selection.recursive && tops.any(|top| volume.is_within(top))
    };
    let is_taken = |selection: &&Selection| selection.volumes.contains(volume);
    if left_out.matches(volume) || selections.iter().any(is_settled) {
        Fate::Settled
    } else if selections.iter().any(is_taken) {
        Fate::Taken
    } else {
        Fate::Open
    }
}

/// Globs that leave volumes out.
///
/// `*` and `?` stay within one component of a path, `**` crosses them, `[ab]` and `{a,b}` choose. A
/// glob covers the whole path, and what it leaves out is left out with everything below it.
#[derive(Clone, Default)]
pub struct Exclude {
    /// The globs, each with its leading slash.
    globs: Vec<String>,
    set: GlobSet,
}

impl Exclude {
    /// Compiles `globs`, each with or without its leading slash, as volumes are.
    pub fn new<'g>(globs: impl IntoIterator<Item = &'g str>) -> Result<Self, globset::Error> {
        let compiled: Vec<Glob> = globs
            .into_iter()
            .map(Self::compile)
            .collect::<Result<_, _>>()?;
        let mut set = GlobSetBuilder::new();
        for glob in &compiled {
            set.add(glob.clone());
        }
        let globs = compiled.iter().map(|glob| glob.glob().to_owned()).collect();
        Ok(Self {
            globs,
            set: set.build()?,
        })
    }

    /// Compiles one glob.
    pub(super) fn compile(glob: &str) -> Result<Glob, globset::Error> {
        let path = glob.strip_prefix('/').unwrap_or(glob);
        GlobBuilder::new(&format!("/{path}"))
            .literal_separator(true)
            .backslash_escape(true)
            .build()
    }

    /// True if `volume`, or a volume above it, is left out.
    pub fn matches(&self, volume: &VolumePath) -> bool {
        let path = volume.as_str();
        let above = path.match_indices('/').skip(1).map(|(end, _)| &path[..end]);
        above.chain([path]).any(|path| self.set.is_match(path))
    }

    /// True if nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.globs.is_empty()
    }
}

impl PartialEq for Exclude {
    fn eq(&self, other: &Self) -> bool {
        self.globs == other.globs
    }
}

impl Eq for Exclude {}

impl fmt::Debug for Exclude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.globs).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_any_disk_takes_is_covered() {
        let path = |text: &str| VolumePath::new(text).unwrap();
        let selection = |volumes: &[&str], recursive, exclude: &[&str]| Selection {
            volumes: volumes.iter().map(|volume| path(volume)).collect(),
            recursive,
            exclude: Exclude::new(exclude.iter().copied()).unwrap(),
        };
        let disks = [
            selection(&["/home", "/srv/www"], false, &[]),
            selection(&["/db"], true, &["db/cache"]),
        ];
        let hosts = Exclude::new(["scratch*"]).unwrap();
        for (volume, expected) in [
            ("/home", Fate::Taken),
            ("/home/vic", Fate::Open),
            ("/srv", Fate::Open),
            ("/srv/www", Fate::Taken),
            ("/db", Fate::Settled),
            ("/db/cache", Fate::Settled),
            ("/scratch1", Fate::Settled),
            ("/new", Fate::Open),
        ] {
            let found = fate(&disks.each_ref(), &hosts, &path(volume));
            assert_eq!(found, expected, "{volume}");
        }
    }
}
