//! The text of `zbackup.ini` as sections and keys, each with its line.
//!
//! The rules are those of Python's configparser. The values are read by the configparser crate,
//! which is close to Python, but not the same: it takes an indented `[` for a section where Python
//! sees a list going on, it trims section names, it takes keys outside of all sections and lines
//! without a delimiter, it forgets the earlier of two equal sections or keys, and it knows no
//! lines. So a scan goes first. It decides what each line is, reports what the crate would not
//! notice, and hands on a text that both read alike: sections are named after their lines, lines
//! that were reported are left out, indentation is made of plain spaces.

use configparser::ini::Ini;

use super::error::{Place, Problems};

/// The section that all others inherit from.
pub(super) const DEFAULT: &str = "DEFAULT";

/// Stands before a `[` at the start of a continuation line, so that the crate sees no section in it.
/// It is of Unicode's private area, which is refused in the file itself.
const SHIELD: char = '\u{e000}';

/// A config file taken apart.
#[derive(Debug)]
pub(super) struct Document {
    /// In the order of the file. A repeated section is there twice (and is reported).
    pub sections: Vec<Section>,
    /// Number of the last line, at least 1.
    pub last_line: usize,
}

/// A `[name]` and what follows it.
#[derive(Debug)]
pub(super) struct Section {
    /// Empty only where a header was reported that holds no name.
    pub name: String,
    pub line: usize,
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    /// In lower case, otherwise as written: `_` and `-` are not made one here.
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

impl Document {
    /// Takes `text` apart. What is not well-formed goes to `problems`; the rest is still read, so
    /// that its values can be checked in the same go.
    pub fn parse(text: &str, problems: &mut Problems) -> Self {
        let mut scan = Scan::new(problems);
        let text = scan.without_byte_order_mark(text);
        for (index, raw_line) in text.lines().enumerate() {
            scan.line(index + 1, raw_line);
        }
        scan.finish(text.lines().count().max(1))
    }
}

/// `key` with `_` and `-` made one: both spellings mean the same key.
pub(super) fn one_spelling(key: &str) -> String {
    key.replace('_', "-")
}

/// What an indented line would go on with.
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
    /// The text for the crate, line by line.
    clean: String,
    current: Current,
    /// Columns before the line that started what is current.
    indent_columns: usize,
    /// Blank lines since then: they belong to the value, if it goes on.
    blank_lines: Vec<usize>,
}

impl<'a> Scan<'a> {
    fn new(problems: &'a mut Problems) -> Self {
        Self {
            problems,
            sections: Vec::new(),
            clean: String::new(),
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
            self.blank_lines.push(line);
            return self.hand_on(0, "");
        }
        if content.starts_with(['#', ';']) {
            return self.hand_on(0, "#");
        }
        let indent_columns = raw_line.chars().take_while(|c| c.is_whitespace()).count();
        if self.current != Current::Nothing && indent_columns > self.indent_columns {
            self.continuation(line, indent_columns, content);
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

    /// Characters that nobody sees in an editor, yet would be part of a value.
    fn refuse_invisible(&mut self, line: usize, raw_line: &str) {
        let invisible = |&c: &char| (c.is_control() && c != '\t') || c == SHIELD;
        if let Some(bad) = raw_line.chars().find(invisible) {
            let found = format!("the control character U+{:04X}", u32::from(bad));
            self.problems
                .add(Place::line(line), found, "plain text is allowed");
        }
    }

    fn continuation(&mut self, line: usize, indent_columns: usize, content: &str) {
        if self.current == Current::LeftOut {
            return self.hand_on(0, "#");
        }
        let entry = self
            .sections
            .last_mut()
            .and_then(|section| section.entries.last_mut());
        let Some(entry) = entry else { return };
        let blank_lines = self.blank_lines.drain(..);
        let lines = blank_lines.chain([line]);
        entry.value.extend(lines.map(|line| ValueLine {
            line,
            text: String::new(),
        }));
        if content.starts_with('[') {
            self.hand_on(indent_columns, &format!("{SHIELD}{content}"));
        } else {
            self.hand_on(indent_columns, content);
        }
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
            // What follows belongs to the section that was meant, not to the one above.
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
        self.hand_on(self.indent_columns, &format!("[{line}]"));
    }

    fn refuse_repeated_section(&mut self, line: usize, name: &str) {
        // Python lets [DEFAULT] come in several pieces.
        let same = |section: &&Section| section.name == name && name != DEFAULT;
        if let Some(first) = self.sections.iter().find(same) {
            let found = format!("repeated section, first in line {}", first.line);
            let allowed = "every section is allowed once: give this one a name of its own";
            self.problems
                .add(Place::section(line, name), found, allowed);
        }
    }

    fn entry(&mut self, line: usize, content: &str) {
        let Some(section) = self.sections.last() else {
            let found = format!("{content:?} stands before the first section");
            let allowed = "start with a section, such as [DEFAULT]";
            self.problems.add(Place::line(line), found, allowed);
            return self.leave_out();
        };
        let place = Place::section(line, &section.name);
        let key = content
            .find(['=', ':'])
            .map(|end| content[..end].trim_end().to_lowercase());
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            let found = format!("{content:?} is neither a [section] nor key = value");
            let allowed = "a line that goes on with a list is indented deeper than its key";
            self.problems.add(place, found, allowed);
            return self.leave_out();
        };
        if let Some(first_line) = self.first_line_of(&key) {
            let found = format!("repeated key, first in line {first_line}");
            let allowed = "a key is allowed once in a section (_ and - are the same in keys)";
            self.problems.add(
                Place {
                    key: Some(key),
                    ..place
                },
                found,
                allowed,
            );
            return self.leave_out();
        }
        if let Some(section) = self.sections.last_mut() {
            let value = vec![ValueLine {
                line,
                text: String::new(),
            }];
            section.entries.push(Entry { key, line, value });
        }
        self.current = Current::Entry;
        self.hand_on(self.indent_columns, content);
    }

    /// Line of an earlier `key` in the newest section, of which `[DEFAULT]` may have several pieces.
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

    fn leave_out(&mut self) {
        self.current = Current::LeftOut;
        self.hand_on(0, "#");
    }

    fn hand_on(&mut self, indent_columns: usize, content: &str) {
        self.clean.extend(std::iter::repeat_n(' ', indent_columns));
        self.clean.push_str(content);
        self.clean.push('\n');
    }

    /// Lets the crate read the values and puts each of their lines where the scan saw it.
    fn finish(self, last_line: usize) -> Document {
        let Self {
            problems,
            mut sections,
            clean,
            ..
        } = self;
        let mut ini = Ini::new_cs();
        ini.set_default_section(DEFAULT);
        ini.set_multiline(true);
        ini.set_comment_symbols(&['#', ';']);
        ini.set_inline_comment_symbols(Some(&[]));
        if let Err(message) = ini.read(clean) {
            problems.add(
                Place::line(last_line),
                message,
                "this is a bug in zbackup: report it",
            );
        }
        for section in &mut sections {
            for entry in &mut section.entries {
                entry.fill(&ini, &section.name, section.line, problems);
            }
        }
        Document {
            sections,
            last_line,
        }
    }
}

impl Entry {
    fn fill(&mut self, ini: &Ini, section: &str, section_line: usize, problems: &mut Problems) {
        let values = ini.get_map_ref().get(&section_line.to_string());
        let value = values.and_then(|values| {
            let same = |(key, _): &(&String, _)| key.to_lowercase() == self.key;
            values
                .iter()
                .find(same)
                .and_then(|(_, value)| value.as_deref())
        });
        let texts: Vec<&str> = value
            .into_iter()
            .flat_map(|value| value.split('\n'))
            .collect();
        if texts.len() != self.value.len() {
            let place = Place::key(self.line, section, &self.key);
            let found = format!("read {} lines of {}", texts.len(), self.value.len());
            problems.add(place, found, "this is a bug in zbackup: report it");
        }
        for (line, text) in self.value.iter_mut().zip(texts) {
            text.strip_prefix(SHIELD)
                .unwrap_or(text)
                .clone_into(&mut line.text);
        }
    }
}
