//! Columns of text, the first ones to the left and numbers to the right.

use std::fmt;

/// A table that is as wide as its widest cells.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with the names of its columns.
    #[must_use]
    pub fn new(header: &[&str]) -> Self {
        Table { rows: vec![header.iter().map(|&name| name.to_owned()).collect()] }
    }

    /// Adds a row; missing cells are empty.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell =
            |row: &'_ Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let width = |column: usize| {
            self.rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0)
        };
        let is_number =
            |text: &str| text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
        // A column is one of numbers if its cells below the header are.
        let to_the_right = |column: usize| {
            let mut cells = self
                .rows
                .iter()
                .skip(1)
                .map(|row| cell(row, column))
                .filter(|text| !text.is_empty());
            cells.clone().next().is_some() && cells.all(|text| is_number(&text))
        };
        for row in &self.rows {
            let mut line = String::new();
            for column in 0..columns {
                let (text, width) = (cell(row, column), width(column));
                let padded = if to_the_right(column) {
                    format!("{text:>width$}")
                } else {
                    format!("{text:<width$}")
                };
                line.push_str(if column == 0 { "" } else { "  " });
                line.push_str(&padded);
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_names_to_the_left() {
        let mut table = Table::new(&["name", "speed"]);
        table.row(vec!["off".into(), "9.5".into()]);
        table.row(vec!["speckv".into(), "24.0".into()]);
        assert_eq!(table.to_string(), "name    speed\noff       9.5\nspeckv   24.0\n");
    }
}
