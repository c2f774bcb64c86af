//! A table without lines: headings in capitals, two spaces between columns, one line for each row.
//!
//! Nothing wraps. On a terminal that is too narrow, the notes move below the table first, and then
//! long names lose their middle; in a pipe everything is printed as it is.

use comfy_table::{CellAlignment, ContentArrangement, presets};

use super::style::{Style, Tone};
use crate::text::{Text, cut_middle, visible};

/// Names are not cut below this many characters: a terminal that is narrower still wraps by itself.
const SHORTEST_NAME: usize = 12;
/// Spaces between columns.
const GAP: usize = 2;

/// The column that moves below the table if it does not fit.
const NOTE: Column = Column::Word("NOTE");

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// Words from a short list: never cut.
    Word(&'static str),
    /// A name: may lose its middle.
    Name(&'static str),
    /// A size or duration, aligned to the right.
    Number(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Word(title) | Self::Name(title) | Self::Number(title) => title,
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub cells: Vec<String>,
    /// For people, beside or below the table.
    pub note: String,
    pub tone: Tone,
}

/// A table, not yet laid out.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
}

impl Table {
    /// The table's lines.
    pub fn render(mut self, style: Style) -> Text {
        self.make_visible();
        let notes_beside = self.take_notes_beside(style);
        let below = if notes_beside {
            Text::new()
        } else {
            self.notes_below()
        };
        self.cut_names(style);
        let lines = self.lines().into_iter().zip(self.tones());
        let lines = lines.map(|(line, tone)| style.paint(line, tone));
        lines.chain([below]).collect()
    }

    /// Makes all characters visible before any width is measured: a character that is shown as its
    /// number takes more room.
    fn make_visible(&mut self) {
        let rows = self.rows.iter_mut();
        for cell in rows.flat_map(|row| row.cells.iter_mut().chain([&mut row.note])) {
            *cell = visible(cell).into_owned();
        }
    }

    /// The notes as lines, each after its row's first cell.
    fn notes_below(&self) -> Text {
        let rows = self.rows.iter().filter(|row| !row.note.is_empty());
        Text::lines(rows.map(|row| format!("  {}: {}", row.cells[0], row.note)))
    }

    /// Makes the notes a last column, if there are any and the width allows it.
    fn take_notes_beside(&mut self, style: Style) -> bool {
        let note_widths = self.rows.iter().map(|row| row.note.chars().count());
        let widest = note_widths.max().unwrap_or_default();
        let fits = style
            .width
            .is_none_or(|width| self.width() + GAP + widest.max(NOTE.title().len()) <= width);
        if widest == 0 || !fits {
            return false;
        }
        self.columns.push(NOTE);
        for row in &mut self.rows {
            row.cells.push(std::mem::take(&mut row.note));
        }
        true
    }

    /// Shortens the widest names until the table fits or no name can be shortened further.
    fn cut_names(&mut self, style: Style) {
        let Some(limit) = style.width else { return };
        while self.width() > limit {
            let names = (0..self.columns.len())
                .filter(|&index| matches!(self.columns[index], Column::Name(_)));
            let Some(widest) = names.max_by_key(|&index| self.column_width(index)) else {
                return;
            };
            let width = self.column_width(widest) - 1;
            if width < SHORTEST_NAME {
                return;
            }
            for row in &mut self.rows {
                row.cells[widest] = cut_middle(&row.cells[widest], width);
            }
        }
    }

    fn column_width(&self, index: usize) -> usize {
        let cells = self.rows.iter().map(|row| row.cells[index].as_str());
        cells
            .chain([self.columns[index].title()])
            .map(|text| text.chars().count())
            .max()
            .unwrap_or_default()
    }

    fn width(&self) -> usize {
        let columns = self.columns.len();
        let widths: usize = (0..columns).map(|index| self.column_width(index)).sum();
        widths + GAP * columns.saturating_sub(1)
    }

    fn tones(&self) -> impl Iterator<Item = Tone> {
        std::iter::once(Tone::Heading).chain(self.rows.iter().map(|row| row.tone))
    }

    fn lines(&self) -> Vec<String> {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(self.columns.iter().map(|column| column.title()));
        for row in &self.rows {
            table.add_row(&row.cells);
        }
        for (laid_out, column) in table.column_iter_mut().zip(&self.columns) {
            laid_out.set_padding((0, u16::try_from(GAP).unwrap_or_default()));
            if let Column::Number(_) = column {
                laid_out.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
            .lines()
            .map(|line| line.trim_end().to_string())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(note: &str) -> Table {
        let row = |name: &str, size: &str, note: &str| Row {
            cells: vec![name.into(), "full".into(), size.into()],
            note: note.into(),
            tone: Tone::Plain,
        };
        Table {
            columns: vec![
                Column::Name("VOLUME"),
                Column::Word("ACTION"),
                Column::Number("SIZE"),
            ],
            rows: vec![
                row("/home/vic/pictures", "1.0 KiB", note),
                row("/var", "-", ""),
            ],
        }
    }

    fn at(width: usize) -> Style {
        Style {
            width: Some(width),
            color: false,
        }
    }

    fn rendered(note: &str, style: Style) -> String {
        table(note).render(style).ended()
    }

    #[test]
    fn notes_go_beside_the_table_or_below_it() {
        let beside = "\
VOLUME              ACTION     SIZE  NOTE
/home/vic/pictures  full    1.0 KiB  raw
/var                full          -
";
        assert_eq!(rendered("raw", Style::default()), beside);
        assert_eq!(rendered("raw", at(41)), beside);
        assert_eq!(
            rendered("raw", at(40)),
            "\
VOLUME              ACTION     SIZE
/home/vic/pictures  full    1.0 KiB
/var                full          -
  /home/vic/pictures: raw
"
        );
    }

    #[test]
    fn names_are_cut_only_as_far_as_needed() {
        assert_eq!(
            rendered("", at(31)),
            "\
VOLUME          ACTION     SIZE
/home/…ictures  full    1.0 KiB
/var            full          -
"
        );
        // Otherwise the cutting would never end.
        assert!(rendered("", at(1)).contains("/home…ctures"));
    }
}
