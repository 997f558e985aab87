//! A table in Markdown that people can read as it is.

use std::fmt::Write;

#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<S: Into<String>>(heading: impl IntoIterator<Item = S>) -> Self {
        Self { rows: vec![heading.into_iter().map(Into::into).collect()] }
    }

    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// None without a row below its heading.
    pub(crate) fn text(&self) -> Option<String> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default().max(3)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            for (cell, &width) in row.iter().zip(&widths) {
                write!(text, "| {cell:width$} ").ok()?;
            }
            text.push_str("|\n");
            if number == 0 {
                for (column, &width) in widths.iter().enumerate() {
                    let (dashes, end) = if column == 0 { (width, " ") } else { (width - 1, ": ") };
                    write!(text, "| {}{end}", "-".repeat(dashes)).ok()?;
                }
                text.push_str("|\n");
            }
        }
        (self.rows.len() > 1).then_some(text)
    }
}

/// Milliseconds with as many digits as are worth reading.
pub(crate) fn milliseconds(value: f64) -> String {
    match value {
        ..1.0 => format!("{value:.3} ms"),
        1.0..100.0 => format!("{value:.1} ms"),
        100.0..1000.0 => format!("{value:.0} ms"),
        _ => format!("{:.2} s", value / 1e3),
    }
}
