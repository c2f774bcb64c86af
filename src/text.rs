//! Text that may leave the program: to a terminal, a log, a pipe.
//!
//! Names, host names and properties come from a disk that was in other hands, and a terminal obeys
//! control characters: escape sequences colour, move and hide, a newline starts a new line, and
//! some characters reverse the direction of reading. So everything that is printed or logged is a
//! [`Text`], and the only way to make one is line by line: characters of a line that are not plain
//! are shown as their numbers.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

use serde::{Serialize, Serializer};

/// Far more than any sentence of zbackup, and less than a syslog daemon accepts as one record.
const MAX_LINE_CHARACTERS: usize = 6000;

/// Lines that are safe to show, whatever they are made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(Vec<String>);

impl Text {
    /// A text without lines.
    pub fn new() -> Self {
        Self::default()
    }

    /// A text with these lines.
    pub fn lines(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self(
            lines
                .into_iter()
                .map(|line| one_line(line.as_ref()))
                .collect(),
        )
    }

    /// Adds a line.
    pub fn push(&mut self, line: impl AsRef<str>) {
        self.0.push(one_line(line.as_ref()));
    }

    /// Adds the lines of `other`.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Puts `around` around each line: zbackup's own colours.
    #[must_use]
    pub(crate) fn within(self, around: [&'static str; 2]) -> Self {
        let [before, after] = around;
        let lines = self.0.into_iter();
        Self(lines.map(|line| format!("{before}{line}{after}")).collect())
    }

    /// True if there is no line.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lines one by one, without their ends.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// True if `part` is in one of the lines.
    pub fn contains(&self, part: &str) -> bool {
        self.to_string().contains(part)
    }

    /// All lines, each ended by a newline, to be written to a stream.
    pub fn ended(&self) -> String {
        self.0
            .iter()
            .flat_map(|line| [line.as_str(), "\n"])
            .collect()
    }
}

/// The lines, without a newline after the last.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One line.
impl From<&str> for Text {
    fn from(line: &str) -> Self {
        Self(vec![one_line(line)])
    }
}

/// One line.
impl From<String> for Text {
    fn from(line: String) -> Self {
        Self::from(line.as_str())
    }
}

impl Extend<Text> for Text {
    fn extend<T: IntoIterator<Item = Text>>(&mut self, texts: T) {
        texts.into_iter().for_each(|text| self.append(text));
    }
}

impl FromIterator<Text> for Text {
    fn from_iter<T: IntoIterator<Item = Text>>(texts: T) -> Self {
        let mut all = Self::new();
        all.extend(texts);
        all
    }
}

fn one_line(text: &str) -> String {
    cut_middle(&visible(text), MAX_LINE_CHARACTERS)
}

/// `text` as it can be shown within a line: a character that is not plain is shown as its number,
/// `\n` or `\u{1b}`. Text that is already visible stays as it is.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_plain(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_default());
        }
    }
    shown.into()
}

/// A JSON document with the same meaning, whose texts are safe to show: control characters and
/// invisible ones are written as their numbers.
pub fn visible_json(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    for character in document.chars() {
        if character == '\n' || is_plain(character) {
            shown.push(character);
        } else {
            // Only texts have such characters: JSON's own syntax is ASCII.
            for unit in character.encode_utf16(&mut [0; 2]) {
                // The writer is a text in memory.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
    }
    shown
}

/// True for a plain character: no control character, nothing invisible, nothing that changes the
/// order of others, no blank that looks like another one.
fn is_plain(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_ascii_control();
    }
    // Alone, an accent would count as one without a letter.
    let behind_a_letter = String::from_iter(['a', character]);
    behind_a_letter.escape_debug().count() == 2 && !is_blank_letter(character)
}

/// True for letters that look like blanks: fillers of Hangul, the empty Braille cell, and the
/// selectors that choose between shapes of the character before them.
fn is_blank_letter(character: char) -> bool {
    matches!(
        character,
        '\u{34f}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

/// A name or a path as it is typed into a shell: one word, whatever it contains.
pub fn shell_word(name: &(impl ToString + ?Sized)) -> String {
    let name = name.to_string();
    let is_plain = |one: char| one.is_alphanumeric() || "/._-+:@%".contains(one);
    if !name.is_empty() && name.chars().all(is_plain) {
        name
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    }
}

/// Cuts the middle out of `text` so that `width` characters remain, since the ends of a name
/// distinguish it from others.
pub fn cut_middle(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.into();
    }
    let kept = width.saturating_sub(1);
    let (head, tail) = (kept / 2, kept - kept / 2);
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(length - tail).collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        for text in [
            "/home/vic smith: 1.2 GiB … 'a' \"b\" \\ [host…] → 100 %",
            "Zoë, Zoe\u{308}, 北京, привет, 😀",
        ] {
            assert_eq!(visible(text), text);
            assert_eq!(visible_json(text), text);
        }
    }

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        for (text, shown) in [
            ("a\x1b[32mSafe", "a\\u{1b}[32mSafe"),
            ("a\nb\r\tc\0", "a\\nb\\r\\tc\\u{0}"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("\u{202e}gpj\u{2066}.exe", "\\u{202e}gpj\\u{2066}.exe"),
            ("a\u{200b}b\u{feff}\u{ad}", "a\\u{200b}b\\u{feff}\\u{ad}"),
            ("a\u{2028}b\u{85}c", "a\\u{2028}b\\u{85}c"),
            ("\u{a0}\u{3000}\u{3164}", "\\u{a0}\\u{3000}\\u{3164}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(visible(text), shown);
            // Escaping twice is escaping once.
            assert_eq!(visible(shown), shown);
        }
    }

    #[test]
    fn a_line_is_one_line_however_it_is_made() {
        let mut text = Text::from("one\ntwo");
        text.push("three\r\nfour");
        text.append(Text::lines(["five\u{2029}", ""]));
        assert_eq!(text.iter().count(), 4);
        assert_eq!(
            text.ended(),
            "one\\ntwo\nthree\\r\\nfour\nfive\\u{2029}\n\n"
        );
        assert_eq!(text.to_string() + "\n", text.ended());
        let endless = Text::from("x".repeat(1 << 20));
        assert_eq!(endless.to_string().chars().count(), MAX_LINE_CHARACTERS);
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let hostile = "\x1b[2J\u{9b}\u{202e}\u{e0041}\u{7f}\n\\";
        let document = serde_json::to_string_pretty(&[hostile]).unwrap();
        let shown = visible_json(&document);
        assert!(shown.chars().all(|c| c == '\n' || is_plain(c)), "{shown}");
        let read: Vec<String> = serde_json::from_str(&shown).unwrap();
        assert_eq!(read, [hostile]);
    }

    #[test]
    fn a_name_is_one_word_of_the_shell() {
        for (name, expected) in [
            ("/mnt/usb/backup/home", "/mnt/usb/backup/home"),
            (
                "tank/zoë@zbackup_2026-11-22_15:30",
                "tank/zoë@zbackup_2026-11-22_15:30",
            ),
            ("backup/my data", "'backup/my data'"),
            ("/home/x --force /home", "'/home/x --force /home'"),
            ("/mnt/it's;", r"'/mnt/it'\''s;'"),
            ("$HOME`id`*~", "'$HOME`id`*~'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(name), expected);
        }
        assert_eq!(
            shell_word(&std::path::Path::new("/a b").display()),
            "'/a b'"
        );
    }

    #[test]
    fn a_name_keeps_its_ends() {
        assert_eq!(cut_middle("/srv/www/example", 16), "/srv/www/example");
        assert_eq!(cut_middle("/srv/www/example", 9), "/srv…mple");
        assert_eq!(cut_middle("/srv", 1), "…");
    }
}
