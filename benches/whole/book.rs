//! Pages of the book that hold what a benchmark has measured.

use std::fs;
use std::path::Path;

/// Puts `text` between the marks of this name in a page: `<!-- name: begin -->`, and `end`.
pub(crate) fn replace(page: &Path, name: &str, text: &str) {
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let whole = fs::read_to_string(page).unwrap();
    let (before, rest) = whole.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    fs::write(page, format!("{before}{begin}\n{text}{end}{after}")).unwrap();
}
