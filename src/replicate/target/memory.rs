//! What a copy remembers of its source, and how it shows the source's files.
//!
//! Both are set when a copy is made and brought up to date by each run that finds the copy to be the
//! same as its source: a property may have changed, and earlier versions remembered less.

use std::collections::BTreeMap;

use openzfs::PropertyChange;

use super::taken_over::{FREE, GUARDED, TakenOver};
use super::values::{SET_LATER, Values};
use crate::inventory::{FILE_PROPERTIES, word_for_every_release};
use crate::model::Dataset;
use crate::model::marks::{SOURCE_FILE_PROPERTIES_PROPERTY, SOURCE_PROPERTIES_PROPERTY};
use crate::next::next;
use crate::replicate::Replication;
use crate::replicate::zfs::Zfs;
use crate::text::shell_word;

/// Longest value of a user property in bytes, its NUL included (`ZAP_MAXVALUELEN`).
const MAX_VALUE_BYTES: usize = 8191;

/// Without these properties a copy does not show its files as they are, whoever mounts it.
const SHOWN_ON_COPIES: [&str; 3] = ["acltype", "longname", "xattr"];

/// What a copy is to remember of its source, as user properties: the properties set on the source itself,
/// so that a new dataset made from the copy can have them back, and those that decide what its files are.
pub(in crate::replicate) fn memory_of(source: &Dataset) -> [(String, String); 2] {
    let own = source.own_properties.iter();
    let own: BTreeMap<&str, &str> = own
        .filter(|(name, _)| is_remembered(name))
        .map(|(name, value)| (name.as_str(), word_for_every_release(name, value)))
        .collect();
    [
        (SOURCE_PROPERTIES_PROPERTY.into(), json(&own)),
        (
            SOURCE_FILE_PROPERTIES_PROPERTY.into(),
            json(&source.file_properties),
        ),
    ]
}

/// True for properties that a copy remembers: mount points, sharing, quotas and reservations belong
/// to a place, not to the data.
pub(in crate::replicate) fn is_remembered(name: &str) -> bool {
    FREE.contains(&name)
        || GUARDED.contains(&name)
        || FILE_PROPERTIES.contains(&name) && name != SET_LATER
}

/// The values as JSON, short enough for one property value.
fn json(values: &impl serde::Serialize) -> String {
    let json = serde_json::to_string(values).unwrap_or_default();
    if json.len() > MAX_VALUE_BYTES {
        "{}".into()
    } else {
        json
    }
}

/// The properties that have to be set on a copy of `source` so that it shows its files as they are.
pub(in crate::replicate) fn shown_of(source: &Dataset) -> impl Iterator<Item = (&str, &str)> {
    shown(&source.file_properties)
}

fn shown(of_files: &Values) -> impl Iterator<Item = (&str, &str)> {
    let shown = of_files
        .iter()
        .filter(|(name, _)| SHOWN_ON_COPIES.contains(&name.as_str()));
    shown.map(|(name, value)| (name.as_str(), value.as_str()))
}

/// What to change in the memory of `copy`, as it was when the run began.
pub(in crate::replicate) fn forgotten(source: &Dataset, copy: &Dataset) -> Vec<PropertyChange> {
    let memory = memory_of(source).into_iter();
    let changed = memory.filter(|(name, json)| copy.local_properties.get(name) != Some(json));
    changed
        .map(|(name, json)| PropertyChange::new(copy.name.as_str(), &name, &json))
        .collect()
}

/// Makes `copy`, as it was when the run began, show its files as `source` does. Returns what could not
/// be done.
pub(in crate::replicate) fn show_files(
    run: &Replication,
    source: &Dataset,
    copy: &Dataset,
) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, value) in hidden(&source.file_properties, copy) {
        if let Err(error) = run.zfs.set_property(&copy.name, name, value) {
            problems.push(format!(
                "{} does not show its files as they are on the host: {name}={value} could not be \
                 set: {error}",
                copy.name
            ));
        }
    }
    problems
}

/// Why `target`, which was on the host before this run, does not show the files from `copy` as they
/// were on the host of their origin. It is the host's own dataset, and stays as it is.
pub(in crate::replicate) fn not_shown_on_host(
    zfs: &dyn Zfs,
    copy: &Dataset,
    target: &Dataset,
) -> Option<String> {
    let of_files = TakenOver::files_of(copy);
    let is_off = |name: &str| {
        target
            .file_properties
            .get(name)
            .is_some_and(|value| value == "off")
    };
    let missing: Vec<String> = hidden(&of_files, target)
        .filter(|(name, value)| is_off(name) && zfs.knows(name, value))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let name = &target.name;
    let all = missing.join(" ");
    (!missing.is_empty()).then(|| {
        next!(
            "remembered-differs",
            "{name} may not show its files as they are where they come from, with {all}: \
             `zfs set {all} {}` would",
            shell_word(name)
        )
    })
}

/// What would have to be set on `there` so that it shows files as they are. Extended attributes of both
/// kinds are shown, whichever kind new ones get.
fn hidden<'a>(
    of_files: &'a Values,
    there: &'a Dataset,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    shown(of_files).filter(|(name, value)| match there.file_properties.get(*name) {
        None => false,
        Some(there) if *name == "xattr" => (there == "off") != (*value == "off"),
        Some(there) => there != value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicate::target::properties::tests::dataset;
    use crate::replicate::target::values::values;
    use openzfs::XATTR_ON;

    fn remembered<const N: usize>(own: [(&str, &str); N]) -> String {
        let mut source = dataset("tank/home");
        source.own_properties = values(own);
        let [(_, json), _] = memory_of(&source);
        json
    }

    #[test]
    fn places_are_not_remembered() {
        let own = [
            ("compression", "zstd"),
            ("mountpoint", "/srv"),
            ("sharenfs", "on"),
            ("quota", "1"),
        ];
        assert_eq!(remembered(own), r#"{"compression":"zstd"}"#);
    }

    #[test]
    fn what_is_remembered_means_the_same_everywhere() {
        let long = format!(r#"{{"atime":"on","xattr":"{XATTR_ON}"}}"#);
        assert_eq!(remembered([("xattr", "on"), ("atime", "on")]), long);
        assert_eq!(remembered([("xattr", "off")]), r#"{"xattr":"off"}"#);
    }

    #[test]
    fn a_copy_is_told_only_what_it_does_not_know() {
        let mut source = dataset("tank/home");
        source.file_properties = values([("acltype", "posix"), ("xattr", "sa")]);
        let mut copy = dataset("backup/home");
        copy.file_properties = values([("acltype", "off"), ("xattr", "dir")]);
        let changes = forgotten(&source, &copy);
        assert_eq!(changes.len(), 2, "one of an earlier version: {changes:?}");
        assert_eq!(changes[1].value, r#"{"acltype":"posix","xattr":"sa"}"#);
        let of = |copy: &Dataset| -> Vec<String> {
            hidden(&source.file_properties, copy)
                .map(|(name, _)| name.into())
                .collect()
        };
        assert_eq!(of(&copy), ["acltype"]);

        copy.local_properties = memory_of(&source).into();
        assert_eq!(forgotten(&source, &copy), []);
        copy.file_properties = values([("acltype", "posix"), ("xattr", "off")]);
        assert_eq!(of(&copy), ["xattr"]);
    }
}
