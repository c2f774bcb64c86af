//! What a rendering is made for: a terminal of some width, or a file.

/// Width and colours of a rendering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// Columns of the terminal; `None` for a pipe or file, where nothing is ever cut.
    pub width: Option<usize>,
    /// ANSI colours are wanted.
    pub color: bool,
}

/// How good the news is that a line brings.
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

impl Look {
    /// `line` broken between words so that it fits, what follows the first line indented. A word
    /// that is too long stays whole: it may be a name to copy.
    pub(super) fn wrap(self, line: &str) -> String {
        const INDENT: &str = "  ";
        let Some(width) = self.width else {
            return line.into();
        };
        let mut wrapped = String::new();
        let mut column = 0;
        for word in line.split(' ') {
            let length = word.chars().count();
            if column > INDENT.len() && column + 1 + length > width {
                wrapped = wrapped + "\n" + INDENT;
                column = INDENT.len();
            } else if column > 0 {
                wrapped.push(' ');
                column += 1;
            }
            wrapped += word;
            column += length;
        }
        wrapped
    }

    /// `text` in the colour of `tone`, where colours are wanted.
    pub fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Notice => "33",
            Tone::Bad => "31",
            Tone::Heading => "1",
            Tone::Plain => "",
        };
        if self.color && !code.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.into()
        }
    }
}

/// Cuts the middle out of `text` so that `width` characters remain, the ends of a name being what
/// tells it from others.
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

/// `lines` as one text, each ended by a newline.
pub(crate) fn ended(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().map(|line| line + "\n").collect()
}

/// At most ten of `lines`, the middle of a longer list replaced by how many are left out.
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
    fn a_name_keeps_its_ends() {
        assert_eq!(cut_middle("/srv/www/example", 16), "/srv/www/example");
        assert_eq!(cut_middle("/srv/www/example", 9), "/srv…mple");
        assert_eq!(cut_middle("/srv", 1), "…");
    }

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
        let narrow = Look {
            width: Some(10),
            color: false,
        };
        assert_eq!(
            narrow.wrap("a sentence that has aVeryLongWord in it"),
            "a sentence\n  that has\n  aVeryLongWord\n  in it"
        );
        assert_eq!(Look::default().wrap("one two three"), "one two three");
    }

    #[test]
    fn colours_only_where_wanted() {
        let color = |color| Look { width: None, color };
        assert_eq!(color(true).paint("no", Tone::Bad), "\x1b[31mno\x1b[0m");
        assert_eq!(color(true).paint("so", Tone::Plain), "so");
        assert_eq!(color(false).paint("no", Tone::Bad), "no");
    }
}
