//! Plain-text tables: whole ones, and ones whose rows come one at a time.
//!
//! ```
//! use gradus_train::table::Table;
//! let table = Table::new(["epoch", "loss", "accuracy"]);
//! // While a run goes on, its rows are printed as they come ...
//! assert_eq!(table.header(), "epoch    loss  accuracy");
//! assert_eq!(table.row(["1", "0.6112", "81.2 %"]), "    1  0.6112    81.2 %");
//!
//! // ... and a table that is complete is as wide as its cells.
//! let mut table = Table::new(["layer", "parameters"]).left(&[0]);
//! table.push(["conv1.weight", "288"]);
//! table.push(["fc.weight", "5120"]);
//! assert_eq!(table.to_string(), "\
//! layer         parameters
//! ------------  ----------
//! conv1.weight         288
//! fc.weight           5120
//! ");
//! ```

use std::fmt;

/// Between columns.
const GAP: &str = "  ";

/// The least width of a column whose rows come one at a time: a number such as `0.6112` fits.
const LEAST_WIDTH: usize = 6;

/// A table with a line of headings. Columns are aligned to the right, as numbers are, unless set otherwise.
#[derive(Clone, Debug)]
pub struct Table {
    headings: Vec<String>,
    left: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(headings: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let headings: Vec<String> = headings.into_iter().map(Into::into).collect();
        Self { left: vec![false; headings.len()], headings, rows: Vec::new() }
    }

    /// Aligns these columns, counted from 0, to the left, as words are.
    #[must_use]
    pub fn left(mut self, columns: &[usize]) -> Self {
        for (column, left) in self.left.iter_mut().enumerate() {
            *left = columns.contains(&column);
        }
        self
    }

    /// Adds a row. Missing cells are empty; cells beyond the last column are left out.
    pub fn push(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The headings as a line, for rows that come one at a time.
    pub fn header(&self) -> String {
        self.line(&self.headings, &self.fixed_widths())
    }

    /// One row as a line under [`header`](Self::header). Cells that are wider than their column shift the rest.
    pub fn row(&self, cells: impl IntoIterator<Item = impl Into<String>>) -> String {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        self.line(&cells, &self.fixed_widths())
    }

    /// Widths that do not depend on rows to come. The first column holds short counts.
    fn fixed_widths(&self) -> Vec<usize> {
        let widths = self.headings.iter().map(|heading| width(heading));
        widths.enumerate().map(|(i, w)| if i == 0 { w } else { w.max(LEAST_WIDTH) }).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, &target) in widths.iter().enumerate() {
            let cell = cells.get(column).map_or("", String::as_str);
            let padding = " ".repeat(target.saturating_sub(width(cell)));
            if column > 0 {
                line.push_str(GAP);
            }
            let (before, after) =
                if self.left[column] { ("", padding.as_str()) } else { (padding.as_str(), "") };
            line.extend([before, cell, after]);
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells =
            |column: usize| self.rows.iter().filter_map(move |row| row.get(column)).map(|cell| width(cell));
        let widths =
            self.headings.iter().enumerate().map(|(i, heading)| cells(i).fold(width(heading), usize::max));
        let widths: Vec<usize> = widths.collect();
        let rule: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
        writeln!(f, "{}", self.line(&self.headings, &widths))?;
        writeln!(f, "{}", self.line(&rule, &widths))?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{}", self.line(row, &widths)))
    }
}

/// The width of a text on a terminal, taking each character to be one column wide.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_come_one_at_a_time_end_where_their_headings_end() {
        let table = Table::new(["epoch", "train loss", "acc", "samples/s"]);
        let header = table.header();
        let row = table.row(["12", "0.2336", "91.6 %", "10 250"]);
        assert_eq!(header.chars().count(), row.chars().count());
        for (heading, cell) in [("epoch", "12"), ("train loss", "0.2336"), ("acc", "91.6 %")] {
            assert_eq!(header.find(heading).unwrap() + heading.len(), row.find(cell).unwrap() + cell.len());
        }
    }

    #[test]
    fn ragged_rows_and_wide_characters_are_laid_out() {
        let mut table = Table::new(["a", "größe"]).left(&[0, 7]);
        table.push(["only"]);
        table.push(["x", "1", "left out"]);
        assert_eq!(table.to_string(), "a     größe\n----  -----\nonly\nx         1\n");
        assert_eq!(Table::new(Vec::<String>::new()).to_string(), "\n\n");
    }
}
