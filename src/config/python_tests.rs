//! Goal: a config means here what it means to Python's configparser.
//!
//! Method: thousands of generated files, sound ones and broken ones, go through Python in one
//! child process and through [`Document`]; both must refuse the same files and read the same
//! sections, keys and values from the others. Where zbackup is stricter on purpose, the second
//! test says so case by case.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::error::Problems;
use super::ini::{DEFAULT, Document, one_spelling};

/// Sections, their keys and values; `None` where the file is refused.
type Reading = Option<BTreeMap<String, BTreeMap<String, String>>>;

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

json.dump([reading(text) for text in json.load(sys.stdin)], sys.stdout)
"#;

fn python(texts: &[String]) -> Vec<Reading> {
    let mut child = Command::new("python3")
        .args(["-c", PYTHON])
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
    let expected = python(&texts);
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
    for ((text, reason), python) in cases.iter().zip(python(&texts)) {
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
