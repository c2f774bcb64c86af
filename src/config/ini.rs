//! The text of `zbackup.ini` as sections and keys, each with its line.
//!
//! The rules are those of Python's configparser. The configparser crate is close to it, but not the
//! same: it takes an indented `[` for a section when Python sees a list continue, it forgets the
//! earlier of two equal sections or keys, and it knows no line numbers. So the kind of each line is
//! decided here, and the crate reads the lines that hold a key.

use configparser::ini::Ini;

use super::error::{Place, Problems};

/// The section that all others inherit from.
pub(super) const DEFAULT: &str = "DEFAULT";

/// A config file taken apart.
#[derive(Debug)]
pub(super) struct Document {
    /// In the order of the file. A repeated section is listed twice (and is reported).
    pub sections: Vec<Section>,
    /// Number of the last line, at least 1.
    pub last_line: usize,
}

/// A `[name]` and what follows it.
#[derive(Debug)]
pub(super) struct Section {
    /// Empty only if the header has no name, which was reported.
    pub name: String,
    pub line: usize,
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    /// In lower case, otherwise as written: `_` and `-` are not unified here.
    pub key: String,
    pub line: usize,
    /// At least one line. The first may be empty: a list often starts below its key.
    pub value: Vec<ValueLine>,
}

/// One line of a value, without the blanks around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ValueLine {
    pub line: usize,
    pub text: String,
}

impl ValueLine {
    fn new(line: usize, text: &str) -> Self {
        let text = text.to_owned();
        Self { line, text }
    }
}

impl Document {
    /// Takes `text` apart. What is not well-formed goes to `problems`; the rest is still read, so
    /// that its values can be checked at the same time.
    pub fn parse(text: &str, problems: &mut Problems) -> Self {
        let mut scan = Scan::new(problems);
        let text = scan.without_byte_order_mark(text);
        for (index, raw_line) in text.lines().enumerate() {
            scan.line(index + 1, raw_line);
        }
        Self {
            sections: scan.sections,
            last_line: text.lines().count().max(1),
        }
    }
}

/// `key` with `_` and `-` unified: both spellings mean the same key.
pub(super) fn one_spelling(key: &str) -> String {
    key.replace('_', "-")
}

/// What an indented line would continue.
#[derive(Clone, Copy, PartialEq)]
enum Current {
    /// Nothing: directly below a section header or at the start of the file.
    Nothing,
    /// The newest entry of the newest section.
    Entry,
    /// An entry that was reported and left out.
    LeftOut,
}

struct Scan<'a> {
    problems: &'a mut Problems,
    sections: Vec<Section>,
    current: Current,
    /// Indentation, in columns, of the line that started the current item.
    indent_columns: usize,
    /// Blank lines since then: they belong to the value, if it continues.
    blank_lines: Vec<usize>,
}

impl<'a> Scan<'a> {
    fn new(problems: &'a mut Problems) -> Self {
        Self {
            problems,
            sections: Vec::new(),
            current: Current::Nothing,
            indent_columns: 0,
            blank_lines: Vec::new(),
        }
    }

    fn without_byte_order_mark<'t>(&mut self, text: &'t str) -> &'t str {
        let Some(rest) = text.strip_prefix('\u{feff}') else {
            return text;
        };
        let allowed = "plain UTF-8 is allowed: save the file without it";
        self.problems.add(
            Place::line(1),
            "the file starts with a byte order mark",
            allowed,
        );
        rest
    }

    fn line(&mut self, line: usize, raw_line: &str) {
        self.refuse_invisible(line, raw_line);
        let content = raw_line.trim();
        if content.is_empty() {
            return self.blank_lines.push(line);
        }
        if content.starts_with(['#', ';']) {
            return;
        }
        let indent_columns = raw_line.chars().take_while(|c| c.is_whitespace()).count();
        if self.current != Current::Nothing && indent_columns > self.indent_columns {
            self.continuation(line, content);
        } else {
            self.indent_columns = indent_columns;
            self.blank_lines.clear();
            if content.starts_with('[') {
                self.header(line, content);
            } else {
                self.entry(line, content);
            }
        }
        self.blank_lines.clear();
    }

    /// Refuses characters that are invisible in an editor, yet would be part of a value.
    fn refuse_invisible(&mut self, line: usize, raw_line: &str) {
        let invisible = |&c: &char| c.is_control() && c != '\t';
        if let Some(bad) = raw_line.chars().find(invisible) {
            let found = format!("the control character U+{:04X}", u32::from(bad));
            self.problems
                .add(Place::line(line), found, "plain text is allowed");
        }
    }

    fn continuation(&mut self, line: usize, content: &str) {
        let entry = self
            .sections
            .last_mut()
            .and_then(|section| section.entries.last_mut());
        let Some(entry) = entry.filter(|_| self.current == Current::Entry) else {
            return;
        };
        let blank_lines = self.blank_lines.drain(..).map(|line| (line, ""));
        let lines = blank_lines.chain([(line, content)]);
        entry
            .value
            .extend(lines.map(|(line, text)| ValueLine::new(line, text)));
    }

    /// `[name]`: everything up to the line's last bracket is the name, what follows is ignored.
    fn header(&mut self, line: usize, content: &str) {
        self.current = Current::Nothing;
        let name = if let Some(end) = content.rfind(']').filter(|&end| end > 1) {
            &content[1..end]
        } else {
            let found = format!("{content:?} is no section");
            let allowed = "a section is written [USB device], [host1] or [DEFAULT]";
            self.problems.add(Place::line(line), found, allowed);
            // The following lines belong to the section that was meant, not to the one above.
            content.trim_matches(['[', ']'])
        };
        if name.trim() != name {
            let allowed = format!("write [{}]: blanks would belong to the name", name.trim());
            self.problems.add(
                Place::section(line, name),
                "blanks inside of the brackets",
                allowed,
            );
        }
        self.refuse_repeated_section(line, name.trim());
        self.sections.push(Section {
            name: name.trim().into(),
            line,
            entries: Vec::new(),
        });
    }

    fn refuse_repeated_section(&mut self, line: usize, name: &str) {
        // Python allows several [DEFAULT] sections.
        let same = |section: &&Section| section.name == name && name != DEFAULT;
        if let Some(first) = self.sections.iter().find(same) {
            let found = format!("repeated section, first in line {}", first.line);
            let allowed = "every section is allowed once: give this one a name of its own";
            self.problems
                .add(Place::section(line, name), found, allowed);
        }
    }

    fn entry(&mut self, line: usize, content: &str) {
        self.current = Current::LeftOut;
        let Some(section) = self.sections.last() else {
            let found = format!("{content:?} stands before the first section");
            let allowed = "start with a section, such as [DEFAULT]";
            return self.problems.add(Place::line(line), found, allowed);
        };
        let place = Place::section(line, &section.name);
        let Some((key, value)) = key_and_value(content) else {
            let found = format!("{content:?} is neither a [section] nor key = value");
            let allowed = "a line that goes on with a list is indented deeper than its key";
            return self.problems.add(place, found, allowed);
        };
        if let Some(first_line) = self.first_line_of(&key) {
            let found = format!("repeated key, first in line {first_line}");
            let allowed = "a key is allowed once in a section (_ and - are the same in keys)";
            let key = Some(key);
            return self.problems.add(Place { key, ..place }, found, allowed);
        }
        if let Some(section) = self.sections.last_mut() {
            let value = vec![ValueLine::new(line, &value)];
            section.entries.push(Entry { key, line, value });
            self.current = Current::Entry;
        }
    }

    /// Line of an earlier `key` in the newest section, which may be split if it is `[DEFAULT]`.
    fn first_line_of(&self, key: &str) -> Option<usize> {
        let name = &self.sections.last()?.name;
        let newest = self.sections.len() - 1;
        let pieces = self.sections.iter().enumerate();
        pieces
            .filter(|(index, piece)| *index == newest || (name == DEFAULT && piece.name == DEFAULT))
            .flat_map(|(_, piece)| &piece.entries)
            .find(|entry| one_spelling(&entry.key) == one_spelling(key))
            .map(|entry| entry.line)
    }
}

/// What the crate reads from a line; nothing if it has no key, or no delimiter after the key.
fn key_and_value(content: &str) -> Option<(String, String)> {
    let mut ini = Ini::new();
    ini.set_inline_comment_symbols(Some(&[]));
    let sections = ini.read(content.to_owned()).ok()?;
    let (key, value) = sections.into_values().flatten().next()?;
    Some((key, value?))
}
