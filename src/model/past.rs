//! What the log of a pool tells of one dataset's past.

use openzfs::{Createtxg, DatasetName, HistoryEvent, PoolHistory};

/// When a dataset's past may have been undone: see `docs/histories.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Nothing is known of what was before this.
    pub known_from: Createtxg,
    /// When it took over what was received, oldest first. Each time, everything newer than the
    /// newest older snapshot that still exists may have been undone.
    pub received_at: Vec<Createtxg>,
}

impl Past {
    /// Goes through the log from its end, so that what `dataset` was called before is known.
    pub fn of(dataset: &DatasetName, history: &PoolHistory) -> Self {
        let mut past = Self {
            known_from: history.first.unwrap_or(Createtxg(u64::MAX)),
            received_at: Vec::new(),
        };
        let mut name = in_pool(dataset.as_str()).to_owned();
        for entry in history.entries.iter().rev() {
            let subject = in_pool(&entry.dataset);
            match &entry.event {
                HistoryEvent::Received if subject == name => past.received_at.push(entry.txg),
                HistoryEvent::RenamedTo(new) => {
                    if let Some(below) = below(&name, in_pool(new)) {
                        name = format!("{subject}{below}");
                    }
                }
                // Promotion gives a clone what its origin had before.
                HistoryEvent::ClonedFrom(origin) if subject == name => {
                    in_pool(origin).clone_into(&mut name);
                }
                _ => {}
            }
        }
        past.received_at.reverse();
        past
    }

    /// True if nothing that was there at `since` was undone up to `until`, or until now.
    pub fn is_unbroken(&self, since: Createtxg, until: Option<Createtxg>) -> bool {
        let breaks = |at: &Createtxg| *at > since && until.is_none_or(|until| *at <= until);
        self.known_from <= since && !self.received_at.iter().any(breaks)
    }
}

/// A name without the name of its pool: a pool can be imported under another one.
fn in_pool(name: &str) -> &str {
    name.find('/').map_or("", |end| &name[end..])
}

/// What follows `top` in the name of a dataset that is `top` or below it.
fn below<'a>(name: &'a str, top: &str) -> Option<&'a str> {
    let rest = name.strip_prefix(top)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use openzfs::HistoryEntry;

    /// `12 recv /home` lines.
    fn history(first: u64, lines: &[&str]) -> PoolHistory {
        let entry = |line: &&str| {
            let words: Vec<_> = line.split(' ').collect();
            HistoryEntry {
                txg: Createtxg(words[0].parse().unwrap()),
                dataset: format!("rpool{}", words[2]),
                event: match words[1] {
                    "recv" => HistoryEvent::Received,
                    "clone" => HistoryEvent::ClonedFrom(format!("rpool{}", words[3])),
                    _ => HistoryEvent::RenamedTo(format!("rpool{}", words[3])),
                },
            }
        };
        PoolHistory {
            first: Some(Createtxg(first)),
            entries: lines.iter().map(entry).collect(),
        }
    }

    #[test]
    fn a_dataset_is_followed_through_its_names() {
        let home = DatasetName::new("tank/home").unwrap();
        for (why, lines, received_at) in [
            (
                "another pool's name",
                &["5 recv /home", "7 recv /srv"][..],
                &[5][..],
            ),
            (
                "it was renamed",
                &["5 recv /old", "6 mv /old /home", "7 recv /old"],
                &[5],
            ),
            (
                "its parent was",
                &["5 recv /a/b", "6 mv /a /x", "7 mv /x/b /home"],
                &[5],
            ),
            (
                "its name was another's",
                &["5 recv /home", "6 mv /home /y", "7 mv /x /home"],
                &[],
            ),
            (
                "a name that only begins so",
                &["5 recv /home", "6 mv /ho /homes"],
                &[5],
            ),
            (
                "it is a clone",
                &[
                    "4 recv /home",
                    "5 recv /old",
                    "6 clone /home /old",
                    "8 recv /home",
                ],
                &[5, 8],
            ),
        ] {
            let past = Past::of(&home, &history(2, lines));
            assert_eq!(past.known_from, Createtxg(2), "{why}");
            let found: Vec<_> = past.received_at.iter().map(|at| at.0).collect();
            assert_eq!(found, received_at, "{why}");
        }
    }

    #[test]
    fn only_what_is_written_down_counts() {
        let past = Past {
            known_from: Createtxg(10),
            received_at: vec![Createtxg(20), Createtxg(30)],
        };
        for (since, until, expected) in [
            (9, None, false),
            (10, None, false),
            (10, Some(19), true),
            (10, Some(20), false),
            (20, Some(29), true),
            (20, None, false),
            (30, None, true),
        ] {
            let unbroken = past.is_unbroken(Createtxg(since), until.map(Createtxg));
            assert_eq!(unbroken, expected, "{since} to {until:?}");
        }
    }
}
