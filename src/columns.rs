//! Columns of text and numbers, laid out as lines that fit a terminal. The caller chooses the columns.

use std::fmt::Write as _;

/// The shortest length to which names of streams and nodes are cut when there is too little room.
pub(crate) const LEAST_NAME: usize = 8;

/// A column: its heading, its cells, and whether they are numbers, which are right-aligned.
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

/// Columns side by side; the first holds names.
pub(crate) struct Columns {
    columns: Vec<Column>,
    gap: usize,
    width: usize,
}

impl Columns {
    /// Lays out columns within `width`: if there is too little room, the gaps shrink first, then names are cut, to no
    /// less than `least_name` characters.
    pub(crate) fn within(width: usize, least_name: usize, columns: Vec<Column>) -> Self {
        let gap = 2;
        let mut laid = Self {
            columns,
            gap,
            width,
        };
        if laid.lacking() > 0 {
            laid.gap = 1;
        }
        let lacking = laid.lacking();
        if let Some(names) = laid.columns.first_mut() {
            let most = names.width().saturating_sub(lacking).max(least_name);
            for cell in &mut names.cells {
                *cell = shortened(cell, most);
            }
        }
        laid
    }

    /// Drops the last columns until the rest fit.
    pub(crate) fn without_last(mut self) -> Self {
        while self.lacking() > 0 && self.columns.len() > 2 {
            self.columns.pop();
        }
        self
    }

    /// Returns the number of characters left beside the columns.
    pub(crate) fn left(&self) -> usize {
        self.width.saturating_sub(self.taken())
    }

    /// Returns the number of characters between two columns.
    pub(crate) fn gap(&self) -> usize {
        self.gap
    }

    fn taken(&self) -> usize {
        let widths: usize = self.columns.iter().map(Column::width).sum();
        widths + self.gap * self.columns.len().saturating_sub(1)
    }

    fn lacking(&self) -> usize {
        self.taken().saturating_sub(self.width)
    }

    /// Returns a heading line, followed by one line per row.
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
            let _ = if column.is_number {
                write!(line, "{:gap$}{cell:>width$}", "")
            } else {
                write!(line, "{:gap$}{cell:<width$}", "")
            };
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Shortens a name to at most `most` characters, keeping its beginning and end, since similar names differ in one of
/// them.
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
        let lines = |width| Columns::within(width, 8, columns()).without_last().lines();
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
            let columns = Columns::within(width, 8, columns()).without_last();
            for line in columns.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}
