//! What the source promises about itself and no compiler checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The only files that may write to a terminal or talk to syslog. What they take is a `Text`.
const SINKS: [(&str, &[&str]); 7] = [
    (
        "io::stdout",
        &["src/terminal/stream.rs", "crates/openzfs/src/capture.rs"],
    ),
    ("io::stderr", &["src/terminal/stream.rs"]),
    ("/dev/tty", &["src/terminal/place.rs"]),
    ("/dev/std", &[]),
    ("STDERR_FILENO", &[]),
    ("syslog::", &["src/logging.rs"]),
    (
        "clippy::disallowed",
        &[
            "crates/openzfs/src/lib.rs",
            "src/lib.rs",
            "src/main.rs",
            "src/terminal/stream.rs",
            "crates/openzfs/src/capture.rs",
        ],
    ),
];

/// All Rust files below `folder`, relative to the repository.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![top.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(top).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The code of a line, without its comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

#[test]
fn nothing_is_printed_or_logged_past_the_one_place_that_shows_foreign_names() {
    let library = sources("crates/openzfs/src");
    for (path, text) in sources("src").into_iter().chain(library) {
        for (what, allowed) in SINKS {
            let is_allowed = allowed.iter().any(|sink| path == Path::new(sink));
            let line = text.lines().find(|line| code(line).contains(what));
            assert!(
                is_allowed || line.is_none(),
                "{} says {what:?}, past src/terminal/stream.rs: {}",
                path.display(),
                line.unwrap_or_default()
            );
        }
    }
}

/// The parts of the program, each with the parts that its code names and the file that does. What
/// stands behind the tests of a file is not looked at.
fn needs() -> BTreeMap<String, BTreeMap<String, PathBuf>> {
    let mut needs: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (path, text) in sources("src") {
        let part = part_of(path.to_str().unwrap());
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let code: String = code.lines().map(code_of_line).collect();
        for named in code.split("crate::").skip(1) {
            let end = named.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let named = &named[..end.unwrap_or(named.len())];
            assert!(
                !named.is_empty(),
                "{} names several parts at once",
                path.display()
            );
            if named != part {
                needs
                    .entry(part.clone())
                    .or_default()
                    .insert(named.to_owned(), path.clone());
            }
        }
    }
    needs
}

/// `plan` of `src/plan/steps.rs`, `text` of `src/text.rs`.
fn part_of(path: &str) -> String {
    let below = path.strip_prefix("src/").unwrap();
    let end = below.find('/').unwrap_or(below.len() - ".rs".len());
    below[..end].to_owned()
}

fn code_of_line(line: &str) -> String {
    format!("{}\n", code(line))
}

#[test]
fn no_part_of_the_program_needs_one_that_needs_it_in_turn() {
    let needs = needs();
    assert!(needs["command"].contains_key("replicate"));
    let mut left: BTreeMap<_, BTreeSet<_>> = needs
        .iter()
        .map(|(part, others)| (part, others.keys().collect()))
        .collect();
    // Whoever needs nobody that is left is in no circle.
    loop {
        let parts: BTreeSet<_> = left.keys().copied().collect();
        let before = left.len();
        left.retain(|_, others| others.iter().any(|other| parts.contains(*other)));
        if left.len() == before {
            break;
        }
    }
    let circle = left.keys().map(|part| {
        let others = needs[*part].iter();
        let within: Vec<_> = others
            .filter(|(other, _)| left.contains_key(other))
            .collect();
        format!("{part} needs {within:?}")
    });
    assert!(left.is_empty(), "{:#?}", circle.collect::<Vec<_>>());
}

/// A text that tells somebody what to do next looks like one of these.
const ADVICE: [&str; 22] = [
    "`zfs ",
    "`zpool ",
    "`zbackup ",
    "`blockdev ",
    "zbackup close",
    "zbackup forget",
    "zpool import ",
    "zpool export ",
    "zfs mount",
    "zfs load-key",
    "modprobe ",
    "fuser ",
    "chmod ",
    "--force {",
    "--keep-both {",
    "--follow-rename {",
    "--device {",
    "this command again",
    "same command again",
    "estart this machine",
    "Make room",
    "Run ",
];

/// What looks like advice and is none: what the command line is, what is going to be done, and the
/// macro itself.
const NO_ADVICE: [&str; 2] = ["src/cli.rs", "src/next.rs"];
/// Heads the list of what is asked about.
const QUESTION: &str = "--force {} destroys:";

/// What no test can do, and why.
const NOT_WALKED: [(&str, &str); 7] = [
    (
        "damaged-inventory",
        "OpenZFS 2.1 itself panics if the list of a dataset's snapshots is damaged",
    ),
    ("end-array", "the machine of the tests has no mdadm"),
    (
        "export-stuck",
        "a kernel that holds on to a disk cannot be had on demand; the restart is walked with pulled-locked",
    ),
    (
        "kernel-stuck",
        "a kernel that answers nobody cannot be had on demand; the restart is walked with pulled-locked",
    ),
    (
        "mount-busy",
        "takes a use that no file of the kernel tells of",
    ),
    (
        "newer-openzfs-closed",
        "its only way out is an update of OpenZFS, and the tests have one version of it",
    ),
    (
        "zfs-versions",
        "takes a module and programs of two versions, and an update that ends that",
    ),
];

/// Advice in a file of the source: `next!("id", "what to do")`, and what looks so without being declared.
#[derive(Default)]
struct Advice {
    ids: Vec<String>,
    undeclared: Vec<String>,
}

impl Advice {
    /// Reads Rust as far as it takes to find the texts in it.
    fn of(text: &str) -> Self {
        let text: Vec<char> = text.chars().collect();
        let mut advice = Self::default();
        let (mut at, mut depth) = (0, 0_u32);
        // At which depth of brackets the `next!` began that this is in.
        let mut declared: Option<u32> = None;
        let mut id_follows = false;
        while at < text.len() {
            let rest = |length: usize| text[at..].iter().take(length).collect::<String>();
            match text[at] {
                '/' if rest(2) == "//" => {
                    at += text[at..].iter().position(|&c| c == '\n').unwrap_or(0);
                }
                '\'' if text.get(at + 1) == Some(&'\\') => at += 3,
                '\'' if text.get(at + 2) == Some(&'\'') => at += 2,
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => {
                    depth = depth.saturating_sub(1);
                    declared = declared.filter(|&begun| depth > begun);
                }
                'n' if rest(6) == "next!(" => {
                    declared = declared.or(Some(depth));
                    (id_follows, depth) = (true, depth + 1);
                    at += 5;
                }
                '"' => {
                    let (literal, end) = string_at(&text, at);
                    if std::mem::take(&mut id_follows) {
                        advice.ids.push(literal);
                    } else if declared.is_none()
                        && literal != QUESTION
                        && (is_next_step(&text[..at])
                            || ADVICE.iter().any(|it| literal.contains(it)))
                    {
                        advice.undeclared.push(literal);
                    }
                    at = end;
                }
                _ => {}
            }
            at += 1;
        }
        advice
    }
}

/// True behind `.next(` or `.next(format!(`.
fn is_next_step(before: &[char]) -> bool {
    let start = before.len().saturating_sub(60);
    let before: String = before[start..]
        .iter()
        .filter(|c| !c.is_whitespace())
        .collect();
    before.ends_with(".next(") || before.ends_with(".next(format!(")
}

/// The text of the string that begins at `start`, and where it ends.
fn string_at(text: &[char], start: usize) -> (String, usize) {
    let is_raw = start > 0 && text[start - 1] == 'r';
    let mut literal = String::new();
    let mut at = start + 1;
    while at < text.len() && text[at] != '"' {
        if text[at] == '\\' && !is_raw {
            at += 1;
            // A line that goes on below.
            if text[at] == '\n' {
                while text[at + 1].is_whitespace() {
                    at += 1;
                }
                at += 1;
                continue;
            }
        }
        literal.push(text[at]);
        at += 1;
    }
    (literal, at)
}

/// The part of a file that is the program.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

/// What tests say that they do, by lines such as `// walks: force, keep-both`.
fn walked() -> Vec<String> {
    let tests = sources("tests").into_iter();
    let lines = tests.flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>());
    lines
        .filter_map(|line| Some(line.trim().strip_prefix("// walks: ")?.to_owned()))
        .flat_map(|ids| ids.split(", ").map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn every_next_step_is_declared_and_walked_in_a_test() {
    let (mut ids, mut undeclared) = (Vec::new(), Vec::new());
    for (path, text) in sources("src") {
        if NO_ADVICE.iter().any(|file| path == Path::new(file)) {
            continue;
        }
        let advice = Advice::of(without_tests(&text));
        let place = path.display().to_string();
        undeclared.extend(
            advice
                .undeclared
                .into_iter()
                .map(|text| (place.clone(), text)),
        );
        ids.extend(advice.ids);
    }
    assert!(
        undeclared.is_empty(),
        "these tell people what to do next, so each belongs into next!(\"an-id\", …), and a test that does what \
         it says has the line `// walks: an-id`: {undeclared:#?}"
    );
    ids.sort();
    ids.dedup();
    assert!(ids.len() > 30, "{ids:?}");
    let walked = walked();
    let is_walked =
        |id: &&String| walked.contains(id) || NOT_WALKED.iter().any(|(other, _)| other == id);
    let missing: Vec<_> = ids.iter().filter(|id| !is_walked(id)).collect();
    assert!(
        missing.is_empty(),
        "no test does what these tell (add `// walks: ID` to one that does): {missing:?}"
    );
    let known = |id: &str| ids.iter().any(|other| other == id);
    let exempted = NOT_WALKED.iter().map(|(id, _)| *id);
    let unknown: Vec<_> = walked
        .iter()
        .map(String::as_str)
        .chain(exempted)
        .filter(|id| !known(id))
        .collect();
    assert!(
        unknown.is_empty(),
        "nothing in src/ tells these: {unknown:?}"
    );
}

#[test]
fn advice_is_found_in_the_source() {
    let found = Advice::of(
        r#"fn f<'a>() { // "Run this"
            let c = '"'; error.next(next!("one", "Run {}: {}", g("x"), next!("two", "{y}")));
            say("Run `zbackup \
                 close`"); other("nothing to do"); error.next(
                 "Look") }"#,
    );
    assert_eq!(found.ids, ["one", "two"]);
    assert_eq!(found.undeclared, ["Run `zbackup close`", "Look"]);
}

#[test]
fn the_overview_of_the_machines_tests_names_each_of_their_files() {
    let files = sources("tests/vm");
    let main = Path::new("tests/vm/main.rs");
    let (_, overview) = files.iter().find(|(path, _)| path == main).unwrap();
    for (path, _) in &files {
        let name = path.file_stem().unwrap().to_string_lossy();
        let is_named = overview.contains(&format!("`{name}`"));
        assert!(
            path == main || path.starts_with("tests/vm/support") || is_named,
            "the head of {} does not say what {} is about",
            main.display(),
            path.display()
        );
    }
}
