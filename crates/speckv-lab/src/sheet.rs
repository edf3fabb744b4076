//! A strict reader of comma-separated files: errors name the file and the line.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Largest file that is read: a grid of a hundred thousand steps has a tenth of it.
const MOST_BYTES: u64 = 1 << 30;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// Reading failed.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// Far too long to be one of these files.
    #[error("{}: expected at most {MOST_BYTES} bytes, got {got}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its size.
        got: u64,
    },
    /// The first line does not name the expected columns.
    #[error("{}, line 1: expected {expected}, got {got}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: String,
        /// What stands there.
        got: String,
    },
    /// A line that is no row, or a cell that is not what its column holds.
    #[error("{}, line {line}: expected {expected}, got {got}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What was expected.
        expected: String,
        /// What stands there.
        got: String,
    },
    /// The file as a whole does not hold what it should.
    #[error("{}: expected {expected}, got {got}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: String,
        /// What there is.
        got: String,
    },
}

/// A file's rows under known columns.
#[derive(Debug, Clone)]
pub struct Sheet {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<(u64, csv::StringRecord)>,
}

/// One row, whose cells are read by column.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    sheet: &'a Sheet,
    /// Its line in the file, from 1.
    pub line: u64,
    cells: &'a csv::StringRecord,
}

/// Bytes of a file that is not absurdly long.
///
/// # Errors
/// [`SheetError::Unreadable`] or [`SheetError::TooLong`].
pub fn bytes(path: &Path) -> Result<Vec<u8>, SheetError> {
    let unreadable = |source| SheetError::Unreadable { path: path.to_owned(), source };
    let got = fs::metadata(path).map_err(unreadable)?.len();
    if got > MOST_BYTES {
        return Err(SheetError::TooLong { path: path.to_owned(), got });
    }
    fs::read(path).map_err(unreadable)
}

impl Sheet {
    /// Reads a file that must have exactly these columns in this order.
    ///
    /// # Errors
    /// [`SheetError`].
    pub fn read(path: &Path, columns: &[&str]) -> Result<Self, SheetError> {
        Self::from_bytes(path, &bytes(path)?, columns)
    }

    /// As [`read`](Self::read), from bytes; `path` is for messages.
    ///
    /// # Errors
    /// [`SheetError`].
    pub fn from_bytes(path: &Path, bytes: &[u8], columns: &[&str]) -> Result<Self, SheetError> {
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        let mut records = reader.records();
        let unreadable = |error: &csv::Error| SheetError::Row {
            path: path.to_owned(),
            line: error.position().map_or(1, csv::Position::line),
            expected: "text in UTF-8".into(),
            got: error.to_string(),
        };
        let header =
            records.next().transpose().map_err(|error| unreadable(&error))?.unwrap_or_default();
        if !header.iter().eq(columns.iter().copied()) {
            return Err(SheetError::Header {
                path: path.to_owned(),
                expected: format!("the columns {}", columns.join(",")),
                got: if header.is_empty() {
                    "nothing".into()
                } else {
                    shown(&header.iter().collect::<Vec<_>>().join(","))
                },
            });
        }
        let mut rows = Vec::new();
        for record in records {
            let record = record.map_err(|error| unreadable(&error))?;
            let line = record.position().map_or(0, csv::Position::line);
            if record.len() != columns.len() {
                return Err(SheetError::Row {
                    path: path.to_owned(),
                    line,
                    expected: format!("{} values", columns.len()),
                    got: record.len().to_string(),
                });
            }
            rows.push((line, record));
        }
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Ok(Sheet { path: path.to_owned(), columns, rows })
    }

    /// The rows in the order of the file.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        self.rows.iter().map(|(line, cells)| Row { sheet: self, line: *line, cells })
    }

    /// An error about the file as a whole.
    pub fn content(&self, expected: impl Into<String>, got: impl Into<String>) -> SheetError {
        SheetError::Content { path: self.path.clone(), expected: expected.into(), got: got.into() }
    }
}

impl<'a> Row<'a> {
    /// The text of a cell.
    ///
    /// # Panics
    /// If the sheet was not read with this column.
    #[must_use]
    pub fn text(&self, column: &str) -> &'a str {
        let index = self.sheet.columns.iter().position(|name| name == column);
        &self.cells[index.expect("a column that the sheet was read with")]
    }

    /// An error about a cell.
    #[must_use]
    pub fn wrong(&self, column: &str, expected: &str) -> SheetError {
        self.error(format!("{expected} in column {column}"), shown(self.text(column)))
    }

    /// An error about this row.
    #[must_use]
    pub fn error(&self, expected: impl Into<String>, got: impl Into<String>) -> SheetError {
        SheetError::Row {
            path: self.sheet.path.clone(),
            line: self.line,
            expected: expected.into(),
            got: got.into(),
        }
    }

    /// A value of a type that reads itself and passes a test; `expected` describes both in words.
    ///
    /// # Errors
    /// [`SheetError::Row`].
    pub fn value<T: FromStr>(
        &self,
        column: &str,
        expected: &str,
        test: impl Fn(&T) -> bool,
    ) -> Result<T, SheetError> {
        self.text(column).parse().ok().filter(test).ok_or_else(|| self.wrong(column, expected))
    }

    /// A finite number from `least` to `most`.
    ///
    /// # Errors
    /// [`SheetError::Row`].
    pub fn number(&self, column: &str, least: f64, most: f64) -> Result<f64, SheetError> {
        // Rust also reads "inf" and "nan"; neither is within bounds.
        self.value(column, &format!("a number from {least} to {most}"), |x: &f64| {
            (least..=most).contains(x)
        })
    }

    /// A whole number from `least` to `most`.
    ///
    /// # Errors
    /// [`SheetError::Row`].
    pub fn whole(&self, column: &str, least: usize, most: usize) -> Result<usize, SheetError> {
        self.value(column, &format!("a whole number from {least} to {most}"), |x| {
            (least..=most).contains(x)
        })
    }
}

/// Foreign text for a message: quoted, escaped, short.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    if short.len() < text.len() { format!("{short:?} and more") } else { format!("{short:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(text: &str) -> Result<Sheet, SheetError> {
        Sheet::from_bytes(Path::new("a.csv"), text.as_bytes(), &["name", "x"])
    }

    #[test]
    fn rows_have_their_line_also_after_a_quoted_line_break() {
        let sheet = sheet("name,x\n\"two\nlines, quoted\",1\nb,2\r\n").expect("rows");
        let rows: Vec<(u64, &str, f64)> = sheet
            .rows()
            .map(|row| (row.line, row.text("name"), row.number("x", 0.0, 9.0).expect("a number")))
            .collect();
        assert_eq!(rows, [(2, "two\nlines, quoted", 1.0), (4, "b", 2.0)]);
    }

    #[test]
    fn what_is_wrong_is_named_by_file_and_line() {
        for (text, words) in [
            ("", "a.csv, line 1: expected the columns name,x, got nothing"),
            ("x,name\n", "a.csv, line 1: expected the columns name,x, got \"x,name\""),
            ("name,x\na,1\nb\n", "a.csv, line 3: expected 2 values, got 1"),
            ("name,x\na,1,2\n", "a.csv, line 2: expected 2 values, got 3"),
        ] {
            assert_eq!(sheet(text).expect_err(text).to_string(), words);
        }
        for wrong in ["-1", "9.5", "NaN", "inf", "", "1 ", "one"] {
            let text = format!("name,x\na,1\nb,{wrong}\n");
            let sheet = sheet(&text).expect("rows");
            let row = sheet.rows().last().expect("a row");
            let message = row.number("x", 0.0, 9.0).expect_err(wrong).to_string();
            assert_eq!(
                message,
                format!("a.csv, line 3: expected a number from 0 to 9 in column x, got {wrong:?}")
            );
            assert!(row.whole("x", 0, 9).is_err(), "{wrong}");
        }
        let latin: &[u8] = b"name,x\n\xe9,1\n";
        let error =
            Sheet::from_bytes(Path::new("a.csv"), latin, &["name", "x"]).expect_err("no UTF-8");
        assert!(error.to_string().starts_with("a.csv, line 2: expected text in UTF-8"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Sheet::read(Path::new("no/such.csv"), &["x"]).expect_err("absent");
        assert_eq!(error.to_string(), "cannot read no/such.csv");
    }
}
