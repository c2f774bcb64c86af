//! What a rendering is for: a terminal of some width, or a file.

use crate::text::{Text, visible};

/// Width and colours of a rendering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Columns of the terminal; `None` for a pipe or file, where nothing is ever cut.
    pub width: Option<usize>,
    /// True if ANSI colours are wanted.
    pub color: bool,
}

/// How good the news in a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// What the user hoped for.
    Good,
    /// Worth a look.
    Notice,
    /// It went wrong.
    Bad,
    /// A heading.
    Heading,
}

impl Style {
    /// `line` broken between words so that it fits, with all but the first line indented. A word
    /// that is too long stays whole: it may be a name to copy.
    pub(super) fn wrap(self, line: &str) -> Text {
        const INDENT: &str = "  ";
        let Some(width) = self.width else {
            return line.into();
        };
        let mut wrapped = Text::new();
        let mut current = String::new();
        let mut column = 0;
        for word in visible(line).split(' ') {
            let length = word.chars().count();
            if column > INDENT.len() && column + 1 + length > width {
                wrapped.push(std::mem::replace(&mut current, INDENT.into()));
                column = INDENT.len();
            } else if column > 0 {
                current.push(' ');
                column += 1;
            }
            current += word;
            column += length;
        }
        wrapped.push(current);
        wrapped
    }

    /// `text` in the colour of `tone`, if colours are wanted.
    pub fn paint(self, text: impl Into<Text>, tone: Tone) -> Text {
        let code = match tone {
            Tone::Good => "\x1b[32m",
            Tone::Notice => "\x1b[33m",
            Tone::Bad => "\x1b[31m",
            Tone::Heading => "\x1b[1m",
            Tone::Plain => "",
        };
        if self.color && !code.is_empty() {
            text.into().within([code, "\x1b[0m"])
        } else {
            text.into()
        }
    }
}

/// At most ten of `lines`, with the middle of a longer list replaced by the number of lines left out.
pub fn cut_list(lines: &[String]) -> Vec<String> {
    const SHOWN: usize = 10;
    if lines.len() <= SHOWN {
        return lines.to_vec();
    }
    let (head, tail) = (&lines[..SHOWN / 2], &lines[lines.len() - SHOWN / 2..]);
    let left_out = format!("… and {} more", lines.len() - SHOWN);
    [head, &[left_out], tail].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_ends() {
        let list = |length: usize| (1..=length).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(cut_list(&list(10)), list(10));
        assert_eq!(
            cut_list(&list(47)).join(" "),
            "1 2 3 4 5 … and 37 more 43 44 45 46 47"
        );
    }

    #[test]
    fn long_lines_break_between_words() {
        let narrow = Style {
            width: Some(10),
            color: false,
        };
        assert_eq!(
            narrow
                .wrap("a sentence that has aVeryLongWord in it")
                .to_string(),
            "a sentence\n  that has\n  aVeryLongWord\n  in it"
        );
        assert_eq!(
            Style::default().wrap("one two three"),
            "one two three".into()
        );
    }

    #[test]
    fn colours_only_where_wanted() {
        let color = |color| Style { width: None, color };
        let painted = |colored, tone| color(colored).paint("no", tone).to_string();
        assert_eq!(painted(true, Tone::Bad), "\x1b[31mno\x1b[0m");
        assert_eq!(painted(true, Tone::Plain), "no");
        assert_eq!(painted(false, Tone::Bad), "no");
    }
}
