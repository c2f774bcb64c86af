//! Goal: a config means here what it means to Python's configparser.
//!
//! Method: thousands of generated files, sound ones and broken ones, go through Python in one
//! child process and through [`Document`]; both must refuse the same files and read the same
//! sections, keys and values from the others. Where zbackup is stricter on purpose, the second
//! test says so case by case. What a section inherits is looked at in whole configs: what a
//! [`Config`] says of each disk and host must be what Python's merged section says.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::error::Problems;
use super::ini::{DEFAULT, Document, one_spelling};
use super::{Config, DEFAULT_PARALLEL, Device, Host, PoolSelector, Selection};

/// Sections, their keys and values.
type Sections = BTreeMap<String, BTreeMap<String, String>>;
/// `None` where the file is refused.
type Reading = Option<Sections>;

/// Reads a JSON list of texts and answers with a list of readings.
const PYTHON: &str = r#"
import configparser, io, json, sys

def reading(text):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = lambda key: key.lower().replace("_", "-")
    try:
        parser.read_file(io.StringIO(text, newline=None))
    except configparser.Error:
        return None
    sections = {name: dict(keys) for name, keys in parser._sections.items()}
    sections["DEFAULT"] = dict(parser.defaults())
    return sections

def inherited(text):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = lambda key: key.lower().replace("_", "-")
    parser.read_file(io.StringIO(text, newline=None))
    own = parser._sections
    return {name: dict(parser[name]) | {"own " + key: own[name][key] for key in own[name]}
            for name in parser.sections()}

how = {"reading": reading, "inherited": inherited}[sys.argv[1]]
json.dump([how(text) for text in json.load(sys.stdin)], sys.stdout)
"#;

/// What Python makes of each text.
fn python<T: serde::de::DeserializeOwned>(how: &str, texts: &[String]) -> Vec<T> {
    let mut child = Command::new("python3")
        .args(["-c", PYTHON, how])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed as the oracle");
    let input = serde_json::to_vec(texts).unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn ours(text: &str) -> Reading {
    let mut problems = Problems::new("zbackup.ini".into());
    let document = Document::parse(text, &mut problems);
    problems.or_value(()).ok()?;
    let mut sections = BTreeMap::from([(DEFAULT.to_string(), BTreeMap::new())]);
    for section in document.sections {
        let keys = sections.entry(section.name).or_default();
        for entry in section.entries {
            let lines: Vec<String> = entry.value.into_iter().map(|line| line.text).collect();
            keys.insert(one_spelling(&entry.key), lines.join("\n"));
        }
    }
    Some(sections)
}

/// What stands to the left of a line: nothing, blanks, a tab, a no-break space.
fn indent() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 1 => Just(" "), 1 => Just("  "), 1 => Just("\t"), 1 => Just("\u{a0}")]
}

fn deep_indent() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("    "),
        Just("\t\t\t"),
        Just("   \u{a0}"),
        Just("        "),
        Just(" \t  ")
    ]
}

fn filler() -> impl Strategy<Value = String> {
    let comment = (
        prop_oneof![indent(), deep_indent()],
        "[#;][ a-z=\\[\\]]{0,6}",
    );
    prop_oneof![
        8 => Just(String::new()),
        1 => "[ \t]{0,5}\n",
        1 => comment.prop_map(|(indent, text)| format!("{indent}{text}\n")),
    ]
}

fn value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "/home",
        "/home/vic",
        "a = b",
        "x:y",
        "%",
        "%(volume)s",
        "100 %",
        "a # no comment",
        "a ; b",
        "[abc]*",
        "[not closed",
        "\"quoted\"",
        "é",
        "two  blanks",
    ])
}

fn entry() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "volume",
        "Volume",
        "exclude",
        "last_snapshots",
        "last-snapshots",
        "mount-point",
        "guid",
        "two words",
        "ümlaut",
        "É",
    ]);
    let delimiter = prop::sample::select(vec!["=", " = ", ":", " :  ", "\t=", "=="]);
    let continuation = (filler(), deep_indent(), value())
        .prop_map(|(filler, indent, value)| format!("{filler}{indent}{value}\n"));
    (
        indent(),
        key,
        delimiter,
        value(),
        prop::collection::vec(continuation, 0..4),
    )
        .prop_map(|(indent, key, delimiter, value, rest)| {
            format!("{indent}{key}{delimiter}{value}\n{}", rest.concat())
        })
}

fn section() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "[DEFAULT]",
        "[default]",
        "[USB device]",
        "[USB device 2]",
        "[host1]",
        "[host2]",
        "[host[1]]",
        "[host3] # the third",
        "[host4]]",
        "[Host1]",
        "[#]",
        "[a=b]",
    ]);
    let entries = prop::collection::vec((filler(), entry()), 0..4);
    (filler(), indent(), name, entries).prop_map(|(filler, indent, name, entries)| {
        let entries: String = entries
            .into_iter()
            .map(|(filler, entry)| filler + &entry)
            .collect();
        format!("{filler}{indent}{name}\n{entries}")
    })
}

fn file() -> impl Strategy<Value = String> {
    let broken = prop::sample::select(vec![
        "no delimiter\n",
        "= no key\n",
        "[open\n",
        "[]\n",
        ": \n",
    ]);
    let broken = prop_oneof![9 => Just(""), 1 => broken];
    let sections = prop::collection::vec((section(), broken), 1..4);
    let keyless_start = prop_oneof![15 => Just(""), 1 => Just("volume = /home\n")];
    (keyless_start, sections, any::<bool>(), any::<bool>()).prop_map(
        |(start, sections, windows, last_newline)| {
            let sections: String = sections
                .into_iter()
                .map(|(text, broken)| text + broken)
                .collect();
            let mut text = format!("{start}{sections}");
            if !last_newline {
                text.pop();
            }
            if windows {
                text.replace('\n', "\r\n")
            } else {
                text
            }
        },
    )
}

#[test]
fn python_reads_the_same() {
    let mut runner = TestRunner::deterministic();
    let texts: Vec<String> = (0..5000)
        .map(|_| file().new_tree(&mut runner).unwrap().current())
        .collect();
    let expected: Vec<Reading> = python("reading", &texts);
    for (text, expected) in texts.iter().zip(&expected) {
        assert_eq!(&ours(text), expected, "{text:?}\n{text}");
    }
    // Neither side of the comparison may be nearly empty.
    let refused = expected.iter().filter(|reading| reading.is_none()).count();
    assert!(
        (500..4000).contains(&refused),
        "{refused} of {} are refused",
        expected.len()
    );
}

/// What Python takes and nobody means.
#[test]
fn stricter_than_python() {
    let cases = [
        ("[host1 ]\n", "blanks inside"),
        ("[host1]\n[a = 1\n", "is no section"),
        ("[host1]\na = \u{0}\n", "U+0000"),
        ("[host1]\na = \u{e000}\n", "U+E000"),
        ("[host1]\na =\n   \u{b}b\n", "U+000B"),
    ];
    let texts: Vec<String> = cases.iter().map(|(text, _)| (*text).to_string()).collect();
    for ((text, reason), python) in cases.iter().zip(python::<Reading>("reading", &texts)) {
        assert!(python.is_some(), "{text:?} is refused by Python too");
        let mut problems = Problems::new("zbackup.ini".into());
        Document::parse(text, &mut problems);
        let message = problems.or_value(()).unwrap_err().to_string();
        assert!(message.contains(reason), "{text:?}: {message}");
    }
}

/// The line of every piece of a value, across comments and blank lines.
#[test]
fn every_line_of_a_value_knows_its_place() {
    let text = "[a]\nk = one\n\n# no\n    two\n\t; no\n  [three]\n\nl =\n  four\n";
    let mut problems = Problems::new("zbackup.ini".into());
    let document = Document::parse(text, &mut problems);
    problems.or_value(()).unwrap();
    let lines: Vec<(usize, &str)> = document.sections[0]
        .entries
        .iter()
        .flat_map(|entry| &entry.value)
        .map(|line| (line.line, line.text.as_str()))
        .collect();
    let expected = [
        (2, "one"),
        (3, ""),
        (5, "two"),
        (7, "[three]"),
        (9, ""),
        (10, "four"),
    ];
    assert_eq!(lines, expected);
}

/// A line with one of these keys and one of these values, or nothing.
fn setting(
    keys: &'static [&'static str],
    values: &'static [&'static str],
) -> impl Strategy<Value = String> {
    let line = (prop::sample::select(keys), prop::sample::select(values))
        .prop_map(|(key, value)| format!("{key} = {value}\n"));
    prop_oneof![3 => Just(String::new()), 2 => line]
}

fn volumes() -> impl Strategy<Value = String> {
    let lists = &[
        "/home",
        "/home\n    /srv/www",
        "\n    /srv\n\n# those too\n    /home/vic",
    ];
    setting(&["volume", "Volume"], lists)
}

/// What narrows or widens a list of volumes.
fn narrowing() -> impl Strategy<Value = String> {
    (
        setting(&["recursive"], &["yes", "no", "On", "0"]),
        setting(&["exclude"], &["/home/tmp", "**/cache\n    srv/x*"]),
    )
        .prop_map(|(a, b)| a + &b)
}

fn keep() -> impl Strategy<Value = String> {
    let keys = &["last_snapshots", "last-snapshots", "LAST_Snapshots"];
    setting(keys, &["1", "30"])
}

fn device_settings() -> impl Strategy<Value = String> {
    (
        setting(
            &["backup_pool", "backup-pool"],
            &["backup", "14530958162319127105"],
        ),
        setting(&["encryption"], &["luks", "truecrypt", "none"]),
        setting(
            &["mount-point", "Mount_Point"],
            &["/mnt/usb", "/media/disk"],
        ),
    )
        .prop_map(|(a, b, c)| [a, b, c].concat())
}

fn host_settings() -> impl Strategy<Value = String> {
    (
        setting(&["prefix"], &["hosts/a", "hosts/b"]),
        setting(&["intermediate"], &["true", "off"]),
        setting(&["parallel"], &["1", "7"]),
    )
        .prop_map(|(a, b, c)| [a, b, c].concat())
}

/// A file with two disks and two hosts, and `[DEFAULT]` anywhere between them. Not every one is sound.
fn config() -> impl Strategy<Value = String> {
    let defaults = (
        volumes(),
        narrowing(),
        keep(),
        device_settings(),
        host_settings(),
    )
        .prop_map(|(a, b, c, d, e)| format!("[DEFAULT]\n{a}{b}{c}{d}{e}"));
    let device = |number: usize| {
        (volumes(), narrowing(), keep(), device_settings()).prop_map(move |(list, narrow, c, d)| {
            // A disk without a list of its own is not limited, and nothing can narrow that.
            let narrow = if list.is_empty() { "" } else { &narrow };
            format!("[USB device {number}]\npartuuid = {number}9353f9f-c554-11e1-8897-5c260a0e9ee6\n{list}{narrow}{c}{d}")
        })
    };
    let host = |number: usize| {
        (volumes(), narrowing(), keep(), host_settings())
            .prop_map(move |(a, b, c, d)| format!("[host{number}]\nguid = {number}\n{a}{b}{c}{d}"))
    };
    (defaults, device(1), device(2), host(1), host(2))
        .prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e])
        .prop_shuffle()
        .prop_map(|sections| sections.concat())
}

fn lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

fn is_on(section: &BTreeMap<String, String>, key: &str) -> bool {
    let value = section.get(key).map(|value| value.to_lowercase());
    value.is_some_and(|value| ["1", "yes", "true", "on"].contains(&value.as_str()))
}

fn with_slash(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

fn same_selection(section: &BTreeMap<String, String>, ours: &Selection) -> bool {
    let listed = |key: &str| lines(section.get(key).map_or("", String::as_str));
    let volumes: Vec<_> = ours.volumes.iter().map(ToString::to_string).collect();
    let excluded: Vec<_> = listed("exclude")
        .iter()
        .map(|glob| with_slash(glob))
        .collect();
    volumes == listed("volume")
        && ours.recursive == is_on(section, "recursive")
        && format!("{:?}", ours.exclude) == format!("{excluded:?}")
}

fn same_device(section: &BTreeMap<String, String>, ours: &Device) -> bool {
    let value = |key: &str| section.get(key).cloned();
    let pool = match &ours.pool {
        PoolSelector::Name(name) => name.to_string(),
        PoolSelector::Guid(guid) => guid.to_string(),
    };
    let encryption = value("encryption").filter(|kind| kind != "none");
    let has_own_volumes = section.contains_key("own volume");
    ours.partuuid.to_string() == section["partuuid"]
        && pool == section["backup-pool"]
        && ours.encryption.map(|kind| kind.to_string()) == encryption
        && ours.mount_point == value("mount-point").map(Into::into)
        && ours.keep_last.map(|keep| keep.to_string()) == value("last-snapshots")
        && match &ours.selection {
            Some(selection) => has_own_volumes && same_selection(section, selection),
            None => !has_own_volumes,
        }
}

fn same_host(section: &BTreeMap<String, String>, ours: &Host) -> bool {
    let value = |key: &str| section.get(key).cloned();
    let parallel = value("parallel").unwrap_or_else(|| DEFAULT_PARALLEL.to_string());
    ours.guid.to_string() == section["guid"]
        && same_selection(section, &ours.selection)
        && ours.keep_last.map(|keep| keep.to_string()) == value("last-snapshots")
        && ours.prefix.as_ref().map(ToString::to_string)
            == value("prefix").as_deref().map(with_slash)
        && ours.intermediate == is_on(section, "intermediate")
        && ours.parallel.to_string() == parallel
}

#[test]
fn sections_inherit_as_in_python() {
    let mut runner = TestRunner::deterministic();
    let (texts, configs): (Vec<String>, Vec<Config>) = (0..2000)
        .map(|_| config().new_tree(&mut runner).unwrap().current())
        .filter_map(|text| {
            let config = Config::parse("zbackup.ini".as_ref(), &text).ok()?;
            Some((text, config))
        })
        .unzip();
    assert!(texts.len() > 500, "only {} are sound", texts.len());
    let expected: Vec<Sections> = python("inherited", &texts);
    for ((text, config), sections) in texts.iter().zip(&configs).zip(&expected) {
        assert_eq!(config.devices.len() + config.hosts.len(), sections.len());
        for device in &config.devices {
            let section = &sections[&device.section];
            assert!(
                same_device(section, device),
                "{text}\n{section:#?}\n{device:#?}"
            );
        }
        for host in &config.hosts {
            let section = &sections[&host.section];
            assert!(same_host(section, host), "{text}\n{section:#?}\n{host:#?}");
        }
    }
}
