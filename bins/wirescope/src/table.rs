//! Tables of text in columns, cut to the terminal's width where there is one.

use console::{Alignment, measure_text_width, pad_str, truncate_str};

/// The space between columns.
const GAP: usize = 2;

/// The narrowest that the wide columns are cut to.
const NARROWEST: usize = 12;

/// How a column behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column<'t> {
    /// To the left, never cut.
    Left(&'t str),
    /// Numbers: to the right, never cut.
    Right(&'t str),
    /// To the left; the widest of these are cut first where the width does not do.
    Wide(&'t str),
}

impl<'t> Column<'t> {
    fn title(self) -> &'t str {
        match self {
            Self::Left(title) | Self::Right(title) | Self::Wide(title) => title,
        }
    }
}

/// Rows under titles. Cells must be harmless already.
pub(crate) struct Table<'t> {
    columns: Vec<Column<'t>>,
    rows: Vec<Vec<String>>,
}

impl<'t> Table<'t> {
    pub(crate) fn new(columns: impl Into<Vec<Column<'t>>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: impl Into<Vec<String>>) {
        self.rows.push(row.into());
    }

    /// The title and the rows as lines of at most `width` characters, where that is given and can be kept.
    pub(crate) fn lines(&self, width: Option<usize>) -> Vec<String> {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.title().len()).collect();
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = measure_text_width(cell).max(*widest);
            }
        }
        if let Some(width) = width {
            self.narrow(&mut widths, width);
        }
        let titles: Vec<String> = self.columns.iter().map(|column| column.title().to_owned()).collect();
        std::iter::once(&titles).chain(&self.rows).map(|row| self.line(row, &widths)).collect()
    }

    /// Takes width from the widest of the wide columns until all fits.
    fn narrow(&self, widths: &mut [usize], width: usize) {
        let gaps = GAP * widths.len().saturating_sub(1);
        let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
        while excess > 0 {
            let wide = self.columns.iter().zip(widths.iter_mut());
            let widest = wide
                .filter(|(column, width)| matches!(column, Column::Wide(_)) && **width > NARROWEST)
                .map(|(_, width)| width)
                .max();
            let Some(widest) = widest else { return };
            *widest -= 1;
            excess -= 1;
        }
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((column, width), cell) in self.columns.iter().zip(widths).zip(row) {
            let cell = truncate_str(cell, *width, "…");
            let alignment = match column {
                Column::Right(_) => Alignment::Right,
                Column::Left(_) | Column::Wide(_) => Alignment::Left,
            };
            line.push_str(&pad_str(&cell, *width, alignment, None));
            line.push_str(&" ".repeat(GAP));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_the_widest_is_cut() {
        let mut table = Table::new([
            Column::Left("id"),
            Column::Wide("host"),
            Column::Wide("path"),
            Column::Right("size"),
        ]);
        table.add(["e1", "a.example", "/a/very/long/path/that/goes/on", "1 B"].map(str::to_owned));
        table.add(["e22", "b", "/", "10 kB"].map(str::to_owned));
        assert_eq!(
            table.lines(None),
            [
                "id   host       path                             size",
                "e1   a.example  /a/very/long/path/that/goes/on    1 B",
                "e22  b          /                               10 kB",
            ]
        );
        let cut = table.lines(Some(40));
        assert_eq!(cut[1], "e1   a.example  /a/very/long/pat…    1 B");
        assert!(cut.iter().all(|line| measure_text_width(line) <= 40), "{cut:?}");
    }
}
