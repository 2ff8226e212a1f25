//! Columns of text in a terminal of some width. Owns what goes where there is no room: names are cut first, then the last columns are
//! left out, so those that matter least stand last.

use std::fmt::Write as _;

/// A column: its head, its cells, and whether they are numbers.
pub(crate) struct Column {
    pub(crate) head: &'static str,
    pub(crate) cells: Vec<String>,
    pub(crate) is_number: bool,
}

impl Column {
    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(self.head.chars().count())
    }
}

/// Columns that have room beside each other. The first one holds names.
pub(crate) struct Columns {
    columns: Vec<Column>,
    /// Characters between two columns.
    pub(crate) gap: usize,
    /// Characters that are left on a line.
    pub(crate) left: usize,
}

impl Columns {
    /// Makes room in a line of `width` characters. Names are not cut shorter than `least_name`.
    pub(crate) fn within(mut columns: Vec<Column>, width: usize, least_name: usize) -> Self {
        let mut gap = 2;
        if lacking(&columns, gap, width) > 0 {
            gap = 1;
        }
        let name = columns.first().map_or(0, Column::width);
        let most = name.saturating_sub(lacking(&columns, gap, width));
        if let Some(names) = columns.first_mut() {
            for cell in &mut names.cells {
                *cell = shortened(cell, most.max(least_name));
            }
        }
        while lacking(&columns, gap, width) > 0 && columns.len() > 2 {
            columns.pop();
        }
        let left = width.saturating_sub(needed(&columns, gap));
        Self { columns, gap, left }
    }

    /// The head, and a line for each row.
    pub(crate) fn lines(&self) -> Vec<String> {
        let rows = self.columns.first().map_or(0, |names| names.cells.len());
        let mut lines = vec![self.line(|column| column.head)];
        lines.extend((0..rows).map(|row| self.line(|column| &column.cells[row])));
        lines
    }

    fn line<'a>(&'a self, cell: impl Fn(&'a Column) -> &'a str) -> String {
        let mut line = String::new();
        for (index, column) in self.columns.iter().enumerate() {
            let (cell, width) = (cell(column), column.width());
            let gap = if index == 0 { 0 } else { self.gap };
            let _ = match column.is_number {
                true => write!(line, "{:gap$}{cell:>width$}", ""),
                false => write!(line, "{:gap$}{cell:<width$}", ""),
            };
        }
        line.truncate(line.trim_end().len());
        line
    }
}

fn needed(columns: &[Column], gap: usize) -> usize {
    let widths: usize = columns.iter().map(Column::width).sum();
    widths + gap * columns.len().saturating_sub(1)
}

fn lacking(columns: &[Column], gap: usize, width: usize) -> usize {
    needed(columns, gap).saturating_sub(width)
}

/// At most so many characters: of names that are alike, beginning or end tells them apart.
pub(crate) fn shortened(name: &str, most: usize) -> String {
    let length = name.chars().count();
    if length <= most {
        return name.to_owned();
    }
    let (begin, end) = (most / 2, most.saturating_sub(most / 2 + 1));
    let first = name.chars().take(begin);
    let last = name.chars().skip(length - end);
    first.chain(['…']).chain(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let column = |head, cells: [&str; 2], is_number| Column {
            head,
            cells: cells.map(str::to_owned).to_vec(),
            is_number,
        };
        vec![
            column("stream", ["lobby-of-the-second-floor", "door"], false),
            column("frames", ["7", "1234"], true),
            column("state", ["offline", ""], false),
            column("lost", ["0", "12"], true),
        ]
    }

    #[test]
    fn names_are_cut_before_columns_are_left_out() {
        let lines = |width| Columns::within(columns(), width, 8).lines();
        assert_eq!(
            lines(100),
            [
                "stream                     frames  state    lost",
                "lobby-of-the-second-floor       7  offline     0",
                "door                         1234             12",
            ]
        );
        assert_eq!(
            lines(30),
            [
                "stream     frames state   lost",
                "lobby…loor      7 offline    0",
                "door         1234           12",
            ]
        );
        assert_eq!(
            lines(16),
            ["stream   frames", "lobb…oor      7", "door       1234"]
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 16..80 {
            let columns = Columns::within(columns(), width, 8);
            for line in columns.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}
