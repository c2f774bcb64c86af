//! What a disk may decide about a volume that is received from it on a host.
//!
//! Whoever could write to the disk could have put anything into what its copies remember. So this is
//! a list of what may be set, and nothing else ever is: no place to mount or share, no quota or
//! reservation, no location of a key, no user property, which other tools act upon as root.

use openzfs::{DatasetName, Error, Properties};

use super::values::Values;
use crate::inventory::{FILE_PROPERTIES, word_for_every_release};
use crate::model::Dataset;
use crate::model::marks::{SOURCE_FILE_PROPERTIES_PROPERTY, SOURCE_PROPERTIES_PROPERTY};
use crate::replicate::zfs::Zfs;

/// Properties about speed and space, and about access times. Not every OpenZFS has all of them:
/// `prefetch` came with 2.2, `direct` with 2.3.
pub(in crate::replicate) const FREE: [&str; 9] = [
    "atime",
    "compression",
    "direct",
    "dnodesize",
    "logbias",
    "prefetch",
    "primarycache",
    "recordsize",
    "relatime",
];

/// Properties that protect the host from a volume's files, or the files from the host's hardware.
/// They are set only if that is stricter than the host is at that place.
pub(in crate::replicate) const GUARDED: [&str; 7] = [
    "checksum",
    "copies",
    "devices",
    "exec",
    "redundant_metadata",
    "setuid",
    "sync",
];

/// Properties about how a new volume can be used: it gets the values of everything else at that place.
const OF_USE: [&str; 2] = ["readonly", "volmode"];

/// How many names of what is left out are shown, and how much of each.
const MOST_SHOWN: usize = 6;
const SHOWN_CHARS: usize = 40;

/// The properties in force on the host at the place where a volume is going to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::replicate) struct Place {
    /// The values of a dataset without properties of its own there.
    inherited: Values,
    /// The values of the dataset that is there now.
    present: Option<Values>,
}

impl Place {
    /// Looks at the dataset `target`, if it is there, and at the one above it.
    pub fn look(zfs: &dyn Zfs, target: &DatasetName) -> Result<Self, Error> {
        let effective = |name: &DatasetName| {
            let dataset = zfs.dataset(name)?;
            dataset
                .map(|dataset| effective(zfs, &dataset.reported))
                .transpose()
        };
        let parent = target.parent();
        let inherited = parent.map(|parent| effective(&parent)).transpose()?;
        Ok(Self {
            inherited: inherited.flatten().unwrap_or_default(),
            present: effective(target)?,
        })
    }

    /// The value there of everything that has none of its own.
    pub fn inherited(&self, name: &str) -> Option<&str> {
        self.inherited.get(name).map(String::as_str)
    }

    /// The strictest value that the host itself wants.
    fn strictest(&self, name: &str) -> Option<&String> {
        let present = self.present.as_ref().and_then(|values| values.get(name));
        let inherited = self.inherited.get(name);
        present
            .into_iter()
            .chain(inherited)
            .max_by_key(|value| strictness(name, value))
    }
}

fn effective(zfs: &dyn Zfs, properties: &Properties) -> Result<Values, Error> {
    let mut values = Values::new();
    let names = GUARDED.into_iter().chain(FILE_PROPERTIES).chain(OF_USE);
    for name in names {
        let value = match properties.value(name) {
            Some(value) => Some(value.to_owned()),
            None => zfs.default_keyword(name)?,
        };
        let value = value.map(|value| word_for_every_release(name, &value).to_owned());
        values.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(values)
}

/// How much a value of a guarded property protects. `None` for a text that is not one of its values.
fn strictness(name: &str, value: &str) -> Option<usize> {
    let order: &[&[&str]] = match name {
        "devices" | "exec" | "setuid" => &[&["on"], &["off"]],
        "sync" => &[&["disabled"], &["standard"], &["always"]],
        "copies" => &[&["1"], &["2"], &["3"]],
        "redundant_metadata" => &[&["none"], &["some"], &["most"], &["all"]],
        "checksum" => &[
            &["off"],
            &["noparity"],
            &["fletcher2"],
            &["on", "fletcher4"],
            &["sha256", "sha512", "skein", "edonr", "blake3"],
        ],
        _ => return None,
    };
    order.iter().position(|equal| equal.contains(&value))
}

/// Of what the copy remembers: what is set on the new volume, and what is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::replicate) struct TakenOver {
    /// Values to be set on the volume itself.
    pub values: Values,
    /// Properties that decide what files are and have the right value there without being set.
    pub as_inherited: Vec<String>,
    /// Values that are weaker than the host's there: `name=value`.
    weaker: Vec<String>,
    /// What a disk may not set, or what ZFS does not have here.
    unknown: Vec<String>,
    /// Names of properties that are remembered but cannot be read.
    unreadable: Vec<&'static str>,
}

impl TakenOver {
    /// What `copy` remembers, as far as the host allows it at this place. `is_possible` tells whether
    /// ZFS here has a property with that value.
    pub fn of_copy(
        copy: &Dataset,
        place: &Place,
        is_possible: impl Fn(&str, &str) -> bool,
    ) -> Self {
        let mut taken = Self::default();
        for (name, value) in taken.memory(copy) {
            let name = name.as_str();
            if FILE_PROPERTIES.contains(&name) && is_possible(name, &value) {
                if place.inherited.get(name) == Some(&value) {
                    taken.as_inherited.push(name.into());
                } else {
                    taken.values.insert(name.into(), value);
                }
            } else if FREE.contains(&name) && is_possible(name, &value) {
                taken.values.insert(name.into(), value);
            } else if let Some(strictness) = strictness(name, &value)
                && is_possible(name, &value)
            {
                let strictest = place.strictest(name);
                let hosts = strictest.and_then(|value| self::strictness(name, value));
                if Some(strictness) > hosts {
                    taken.values.insert(name.into(), value);
                } else if Some(strictness) < hosts {
                    taken.weaker.push(shown(name, &value));
                }
            } else {
                taken.unknown.push(shown(name, &value));
            }
        }
        taken.keep_strictness_of_present(place);
        taken
    }

    /// What is put in the place of a dataset, or beside it, gets no weaker values than the dataset
    /// had itself.
    fn keep_strictness_of_present(&mut self, place: &Place) {
        for name in GUARDED {
            let is_above = place.inherited.get(name) == place.strictest(name);
            if let Some(strictest) = place.strictest(name).filter(|_| !is_above) {
                let entry = self.values.entry(name.into());
                entry.or_insert_with(|| strictest.clone());
            }
        }
    }

    /// The properties that decide what the files of a copy are, if they are known.
    pub fn files_of(copy: &Dataset) -> Values {
        let mut memory = Self::default().memory(copy);
        memory.retain(|name, _| FILE_PROPERTIES.contains(&name.as_str()));
        memory
    }

    /// What a copy remembers. If it remembers nothing, such as a copy that zbackup did not make,
    /// its own properties count.
    fn memory(&mut self, copy: &Dataset) -> Values {
        let mut all = Values::new();
        let mut is_there = false;
        for property in [SOURCE_PROPERTIES_PROPERTY, SOURCE_FILE_PROPERTIES_PROPERTY] {
            let Some(json) = copy.local_properties.get(property) else {
                continue;
            };
            is_there = true;
            match serde_json::from_str::<Values>(json) {
                Ok(values) => all.extend(values),
                Err(error) => {
                    log::debug!("{property} of {}: {error}", copy.name);
                    self.unreadable.push(property);
                }
            }
        }
        if !is_there {
            let own = copy.own_properties.iter();
            let of_files = own.filter(|(name, _)| FILE_PROPERTIES.contains(&name.as_str()));
            all.extend(of_files.map(|(name, value)| (name.clone(), value.clone())));
        }
        let words = all.into_iter().map(|(name, value)| {
            let value = word_for_every_release(&name, &value).to_owned();
            (name, value)
        });
        words.collect()
    }

    /// What is left out, in one line.
    pub fn left_out(&self, target: &DatasetName) -> Option<String> {
        let mut parts = Vec::new();
        if !self.weaker.is_empty() {
            let names = list(&self.weaker);
            parts.push(format!(
                "{names} would be weaker than what this host has there"
            ));
        }
        if !self.unknown.is_empty() {
            let names = list(&self.unknown);
            parts.push(format!(
                "no disk may set, or ZFS here does not know: {names}"
            ));
        }
        parts.extend(
            self.unreadable
                .iter()
                .map(|name| format!("{name} cannot be read")),
        );
        (!parts.is_empty()).then(|| {
            format!(
                "{target} does not get all properties that the disk remembers: {}",
                parts.join("; ")
            )
        })
    }
}

/// A name and a value, shortened: names of properties can be long, and values can fill eight kilobytes.
fn shown(name: &str, value: &str) -> String {
    let cut = |text: &str| match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    };
    format!("{}={}", cut(name), cut(value))
}

fn list(names: &[String]) -> String {
    let (shown, more) = names.split_at(names.len().min(MOST_SHOWN));
    match more.len() {
        0 => shown.join(", "),
        number => format!("{} and {number} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicate::target::properties::tests::dataset;
    use crate::replicate::target::values::values;

    /// The place on a host that its owner has hardened from the pool's root on.
    fn hardened() -> Place {
        Place {
            inherited: values([
                ("acltype", "off"),
                ("checksum", "sha256"),
                ("copies", "1"),
                ("devices", "off"),
                ("exec", "off"),
                ("redundant_metadata", "all"),
                ("setuid", "off"),
                ("sync", "standard"),
                ("xattr", "sa"),
            ]),
            present: None,
        }
    }

    fn taken(memory: [&str; 2], place: &Place) -> TakenOver {
        let mut copy = dataset("backup/home");
        let properties = [SOURCE_PROPERTIES_PROPERTY, SOURCE_FILE_PROPERTIES_PROPERTY];
        let pairs = properties.into_iter().zip(memory);
        copy.local_properties = pairs
            .filter(|(_, json)| !json.is_empty())
            .map(|(name, json)| (name.into(), json.into()))
            .collect();
        TakenOver::of_copy(&copy, place, |_, value| value != "impossible")
    }

    fn left_out(taken: &TakenOver) -> String {
        let line = taken.left_out(&DatasetName::new("cave/home").unwrap());
        line.unwrap_or_default()
    }

    #[test]
    fn nothing_gets_weaker_than_the_host_has_it() {
        let weak = r#"{"checksum":"off","devices":"on","exec":"on","setuid":"on","sync":"disabled",
            "copies":"1","redundant_metadata":"none","compression":"zstd"}"#;
        let taken = taken([weak, ""], &hardened());
        assert_eq!(taken.values, values([("compression", "zstd")]));
        let line = left_out(&taken);
        for name in [
            "checksum=off",
            "devices=on",
            "exec=on",
            "redundant_metadata=none",
        ] {
            assert!(line.contains(name), "{line}");
        }
        assert!(!line.contains("copies"), "it is the same: {line}");
    }

    #[test]
    fn what_is_stricter_on_the_disk_stays_so() {
        let mut soft = hardened();
        soft.inherited = values([
            ("checksum", "on"),
            ("copies", "1"),
            ("setuid", "on"),
            ("sync", "standard"),
        ]);
        let strict = r#"{"checksum":"sha512","copies":"2","setuid":"off","sync":"always"}"#;
        let taken = taken([strict, ""], &soft);
        let expected = [
            ("checksum", "sha512"),
            ("copies", "2"),
            ("setuid", "off"),
            ("sync", "always"),
        ];
        assert_eq!(taken.values, values(expected));
        assert_eq!(left_out(&taken), "");
    }

    #[test]
    fn what_comes_beside_a_dataset_is_as_strict_as_that() {
        let place = Place {
            inherited: values([("setuid", "on"), ("exec", "on")]),
            present: Some(values([("setuid", "off"), ("exec", "on")])),
        };
        let silent = taken(["{}", ""], &place);
        assert_eq!(silent.values, values([("setuid", "off")]));
        let weak = taken([r#"{"setuid":"on"}"#, ""], &place);
        assert_eq!(weak.values, values([("setuid", "off")]));
        assert!(left_out(&weak).contains("setuid=on"));
    }

    #[test]
    fn what_is_not_listed_is_never_set() {
        let place = Place::default();
        for name in [
            "mountpoint",
            "sharenfs",
            "sharesmb",
            "canmount",
            "readonly",
            "keylocation",
            "quota",
            "reservation",
            "refreservation",
            "filesystem_limit",
            "defaultuserquota",
            "special_small_blocks",
            "volmode",
            "snapdir",
            "snapdev",
            "zoned",
            "overlay",
            "nbmand",
            "vscan",
            "org.znapzend:src_plan",
            "com.sun:auto-snapshot",
            "org.zbackup:created",
        ] {
            let taken = taken([&format!(r#"{{"{name}":"x"}}"#), ""], &place);
            assert_eq!(taken.values, Values::new());
            assert!(left_out(&taken).contains(name), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_read_costs_itself_and_is_told_shortly() {
        let garbage = taken(["[1, 2", r#"{"acltype":"posix"}"#], &hardened());
        assert_eq!(garbage.values, values([("acltype", "posix")]));
        assert!(left_out(&garbage).contains("org.zbackup:source-properties cannot be read"));

        let many: Values = (0..500)
            .map(|number| (format!("{number}{}", "x".repeat(60)), "y".repeat(60)))
            .collect();
        let many = taken([&serde_json::to_string(&many).unwrap(), ""], &hardened());
        assert_eq!(many.values, Values::new());
        let line = left_out(&many);
        assert!(line.len() < 1000 && line.contains("and 494 more"), "{line}");
    }

    #[test]
    fn files_are_what_they_were_where_the_host_would_make_them_something_else() {
        let files = r#"{"acltype":"posix","xattr":"sa","aclinherit":"impossible"}"#;
        let taken = taken(["{}", files], &hardened());
        assert_eq!(taken.values, values([("acltype", "posix")]));
        assert_eq!(taken.as_inherited, ["xattr"]);
    }

    #[test]
    fn a_copy_that_remembers_nothing_counts_as_it_is() {
        let mut copy = dataset("backup/home");
        copy.own_properties = values([("acltype", "posix"), ("setuid", "on")]);
        let taken = TakenOver::of_copy(&copy, &hardened(), |_, _| true);
        assert_eq!(taken.values, values([("acltype", "posix")]));
        assert_eq!(left_out(&taken), "");
    }
}
