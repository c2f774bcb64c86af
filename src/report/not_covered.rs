//! The lines below the table that name datasets that are in no copy.

use std::collections::BTreeMap;

use openzfs::DatasetName;

use crate::human::count;
use crate::next::next;

/// How many names, or parents that stand for many, are shown.
const SHOWN: usize = 5;
/// Up to this many siblings below a volume are named one by one.
const SIBLINGS: usize = 3;

/// Two lines for these datasets, which must be in order; none if there are none.
pub(super) fn lines(names: &[DatasetName]) -> Vec<String> {
    if names.is_empty() {
        return Vec::new();
    }
    let groups = groups(names);
    let shown = groups.iter().take(SHOWN);
    let list: Vec<&str> = shown.clone().map(|group| group.text.as_str()).collect();
    let told: usize = shown.map(|group| group.datasets).sum();
    let more = match names.len() - told {
        0 => String::new(),
        number => format!(" and {number} more"),
    };
    vec![
        format!(
            "In no volume of zbackup.ini, so in no copy: {}: {}{more}",
            count(names.len(), "dataset"),
            list.join(", "),
        ),
        next!(
            "not-covered",
            "Add them to `volume` (or `recursive = yes`), or silence this with `exclude` or \
         `zfs set org.zbackup:skip=yes DATASET`"
        ),
    ]
}

struct Group {
    text: String,
    datasets: usize,
}

/// A dataset below another is counted with it, and many siblings are counted together: a container
/// engine makes hundreds.
fn groups(names: &[DatasetName]) -> Vec<Group> {
    let mut tops: Vec<(&DatasetName, usize)> = Vec::new();
    for name in names {
        let covers = |top: &DatasetName| top.parent().is_some() && name.is_within(top);
        match tops.iter_mut().find(|(top, _)| covers(top)) {
            Some((_, below)) => *below += 1,
            None => tops.push((name, 0)),
        }
    }
    let mut siblings: BTreeMap<Option<DatasetName>, Vec<(&DatasetName, usize)>> = BTreeMap::new();
    for top in tops {
        siblings.entry(top.0.parent()).or_default().push(top);
    }
    let mut groups = Vec::new();
    for (parent, tops) in siblings {
        match parent.filter(|parent| parent.parent().is_some() && tops.len() > SIBLINGS) {
            Some(parent) => {
                let datasets = tops.iter().map(|(_, below)| below + 1).sum();
                let text = format!("{datasets} below {parent}");
                groups.push(Group { text, datasets });
            }
            None => groups.extend(tops.into_iter().map(|(top, below)| Group {
                text: match below {
                    0 if top.parent().is_none() => format!("the files of {top} itself"),
                    0 => top.to_string(),
                    _ => format!("{top} and {below} below it"),
                },
                datasets: below + 1,
            })),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_line(names: &[&str]) -> String {
        let names: Vec<_> = names
            .iter()
            .map(|name| DatasetName::new(name).unwrap())
            .collect();
        lines(&names).into_iter().next().unwrap_or_default()
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        assert_eq!(first_line(&[]), "");
    }

    #[test]
    fn few_are_named() {
        assert_eq!(
            first_line(&["tank", "tank/home/vic", "tank/new"]),
            "In no volume of zbackup.ini, so in no copy: 3 datasets: the files of tank itself, \
             tank/new, tank/home/vic"
        );
    }

    #[test]
    fn many_are_counted_with_what_they_are_below() {
        let layers: Vec<String> = (0..212)
            .map(|layer| format!("tank/docker/{layer:03}"))
            .collect();
        let mut names: Vec<&str> = layers.iter().map(String::as_str).collect();
        assert_eq!(
            first_line(&names),
            "In no volume of zbackup.ini, so in no copy: 212 datasets: 212 below tank/docker",
            "tank/docker itself is a volume"
        );
        names.insert(0, "tank/docker");
        names.extend(["tank/a", "tank/b", "tank/c", "tank/d", "tank/e"]);
        names.sort_unstable();
        assert_eq!(
            first_line(&names),
            "In no volume of zbackup.ini, so in no copy: 218 datasets: tank/a, tank/b, tank/c, \
             tank/d, tank/docker and 212 below it and 1 more"
        );
    }
}
