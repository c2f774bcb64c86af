//! Goal: a config means here what it means to Python's configparser.
//!
//! Method: thousands of files made of random lines go through Python in one child process and through
//! [`Document`]; both must refuse the same files, and read the same sections, keys and values from
//! the rest. If zbackup is stricter on purpose, the second test says so case by case. Inheritance is
//! tested with whole configs: Python writes into each section what it inherits, and that must be the
//! same [`Config`].

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::error::Problems;
use super::ini::{DEFAULT, Document, one_spelling};
use super::{Config, ConfigError};

/// Sections, their keys and values; `None` if the file is refused.
type Reading = Option<BTreeMap<String, BTreeMap<String, String>>>;

/// Reads a JSON list of texts and answers with a list of what it reads from them.
const PYTHON: &str = r#"
import configparser, io, json, sys

def parsed(text):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = lambda key: key.lower().replace("_", "-")
    parser.read_file(io.StringIO(text, newline=None))
    return parser

def reading(text):
    try:
        parser = parsed(text)
    except configparser.Error:
        return None
    return {name: dict(keys) for name, keys in parser._sections.items()} | {"DEFAULT": dict(parser.defaults())}

DISK = ["partuuid", "backup-pool", "encryption", "mount-point", "last-snapshots"]
VOLUMES = ["volume", "recursive", "exclude"]
HOST = [*VOLUMES, "guid", "last-snapshots", "prefix", "intermediate", "parallel"]

def flat(text):
    parser, lines = parsed(text), []
    for name, section in parser.items():
        # The volumes of [DEFAULT] are the hosts': they limit no disk.
        limited = "volume" in parser._sections.get(name, {})
        keys = HOST if name.startswith("host") else DISK + VOLUMES * limited
        lines += [f"[{name}]"] + [f"{key} = " + section[key].replace("\n", "\n  ")
                                  for key in keys if key in section and name != "DEFAULT"]
    return "\n".join(lines)

json.dump([globals()[sys.argv[1]](text) for text in json.load(sys.stdin)], sys.stdout)
"#;

/// What Python reads from each text.
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

fn generated<S: Strategy<Value = String>>(
    number: usize,
    strategy: S,
) -> impl Iterator<Item = String> {
    let mut runner = TestRunner::deterministic();
    (0..number).map(move |_| strategy.new_tree(&mut runner).unwrap().current())
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

/// What a line may contain, separated by `¦`; most of it is valid.
const LINES: &str = "[DEFAULT]¦[default]¦[USB device]¦[host1]¦[host[1]]¦[host3] # the third¦[host4]]¦[Host1]¦\
    [#]¦[a=b]¦volume = /home¦Volume:/srv¦exclude=a # no comment¦last_snapshots = 30¦last-snapshots\t: 7¦\
    mount-point == x¦guid :  a ; b¦two words = two  blanks¦ümlaut = é¦É = %(volume)s¦a = b = c¦b = x:y¦\
    c = [abc]*¦d = \"quoted\"¦e =¦f =\u{a0}%¦g : 1=2¦/home/vic¦a word¦[abc]*¦[not closed¦100 %¦é¦# comment¦\
    ; comment¦#[a]¦;a = b¦¦¦¦¦= no key¦: ¦[]";

fn file() -> impl Strategy<Value = String> {
    let indent = prop_oneof![3 => Just(String::new()), 2 => "[ \t\u{a0}]{1,5}"];
    let line = (indent, select(LINES.split('¦').collect::<Vec<_>>()));
    let lines = prop::collection::vec(line.prop_map(|(indent, line)| indent + line), 0..9);
    let start = select(vec!["[host1]", "[DEFAULT]", "[USB device]", ""]);
    let newline = select(vec!["\n", "\r\n"]);
    (start, lines, newline, select(vec!["", "\n"])).prop_map(|(start, lines, newline, last)| {
        format!("{start}{newline}{}{last}", lines.join(newline))
    })
}

#[test]
fn python_reads_the_same() {
    let texts: Vec<String> = generated(8000, file()).collect();
    let expected: Vec<Reading> = python("reading", &texts);
    for (text, expected) in texts.iter().zip(&expected) {
        assert_eq!(&ours(text), expected, "{text:?}\n{text}");
    }
    // Neither side of the comparison may be nearly empty.
    let refused = expected.iter().filter(|reading| reading.is_none()).count();
    assert!((2000..6000).contains(&refused), "{refused} are refused");
}

/// What Python accepts and nobody intends.
#[test]
fn stricter_than_python() {
    let cases = [
        ("[host1 ]\n", "blanks inside"),
        ("[host1]\n[a = 1\n", "is no section"),
        ("[host1]\na = \u{0}\n", "U+0000"),
        ("[host1]\na =\n   \u{b}b\n", "U+000B"),
    ];
    let texts = cases.map(|(text, _)| text.to_owned());
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
    let entries = &document.sections[0].entries;
    let lines = entries.iter().flat_map(|entry| &entry.value);
    let lines: Vec<(usize, &str)> = lines.map(|line| (line.line, line.text.as_str())).collect();
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

/// What a section may say, in one of two ways each.
const BOTH: [[&str; 2]; 4] = [
    ["last_snapshots = 30", "LAST-Snapshots : 1"],
    [
        "volume = /home",
        "Volume =\n    /srv\n\n# that too\n    /home/vic",
    ],
    ["recursive = On", "recursive = 0"],
    ["exclude = /srv/tmp", "exclude = **/cache\n    home/x*"],
];
const DISK: [[&str; 2]; 3] = [
    ["backup_pool = backup", "backup-pool = 14530958162319127105"],
    ["encryption = luks", "encryption = none"],
    ["mount-point = /mnt/usb", "Mount_Point = /media/disk"],
];
const HOST: [[&str; 2]; 3] = [
    ["prefix = hosts/a", "prefix = hosts/b"],
    ["intermediate = true", "intermediate = off"],
    ["parallel = 1", "parallel = 7"],
];

/// A section that begins with `start` and says some of `settings`.
fn section(start: String, settings: Vec<[&'static str; 2]>) -> impl Strategy<Value = String> {
    let picks = prop::collection::vec(0..4_usize, settings.len());
    picks.prop_map(move |picks| {
        let said = settings.iter().zip(picks);
        let lines = said.filter_map(|(setting, pick)| setting.get(pick).copied());
        let lines: Vec<&str> = std::iter::once(start.as_str()).chain(lines).collect();
        lines.join("\n") + "\n"
    })
}

/// A file with two disks and two hosts, and `[DEFAULT]` anywhere between them. Not every one is valid.
fn config() -> impl Strategy<Value = String> {
    let disk = |number| {
        let start = format!(
            "[USB device {number}]\npartuuid = 09353f9f-c554-11e1-8897-00000000000{number}"
        );
        section(start, [&BOTH[..], &DISK].concat())
    };
    let host = |number| {
        section(
            format!("[host{number}]\nguid = {number}"),
            [&BOTH[..], &HOST].concat(),
        )
    };
    let default = section("[DEFAULT]".into(), [&BOTH[..], &DISK, &HOST].concat());
    (default, disk(1), disk(2), host(1), host(2))
        .prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e])
        .prop_shuffle()
        .prop_map(|sections| sections.concat())
}

/// What a file means, wherever in the file it says so.
fn meaning(text: &str) -> Result<Config, ConfigError> {
    let mut config = Config::parse("zbackup.ini".as_ref(), text)?;
    config.devices.iter_mut().for_each(|device| device.line = 0);
    config.hosts.iter_mut().for_each(|host| host.line = 0);
    config.warnings.clear();
    Ok(config)
}

#[test]
fn sections_inherit_as_in_python() {
    let sound = |text: &String| meaning(text).is_ok();
    let texts: Vec<String> = generated(4000, config()).filter(sound).collect();
    assert!(texts.len() > 500, "only {} are sound", texts.len());
    for (text, flat) in texts.iter().zip(python::<String>("flat", &texts)) {
        assert_eq!(
            meaning(text).unwrap(),
            meaning(&flat).unwrap(),
            "{text}\n{flat}"
        );
    }
}
