//! What the documents say about files, flags and attributes is checked against those.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests assert")]

#[path = "support/attributes.rs"]
mod attributes;
#[path = "docs/manifests.rs"]
mod manifests;
#[path = "support/yaml.rs"]
mod yaml;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Markdown files that people start from, the book, and the chart's.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in ["", "docs", "deploy/helm/skillmount"].map(|path| root().join(path)) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The text without its code blocks, where `](` is no link.
fn prose(text: &str) -> String {
    let mut code = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn every_link_between_documents_resolves() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for document in documents() {
        let text = prose(&fs::read_to_string(&document).unwrap());
        for rest in text.split("](").skip(1) {
            let link = rest.split(')').next().unwrap();
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            let fragment_is_there = || {
                fragment.is_empty()
                    || anchors(&fs::read_to_string(&target).unwrap()).contains(fragment)
            };
            if !target.exists() || !fragment_is_there() {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(seen > 10, "only {seen} links were found");
    assert_eq!(broken, Vec::<String>::new());
}

/// The words of a text that are long flags, `--help` and `--version` left out.
fn flags(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.split(|c: char| !is_part(c))
        .filter(|word| {
            word.strip_prefix("--").is_some_and(|name| name.starts_with(char::is_alphabetic))
        })
        .filter(|word| !matches!(*word, "--help" | "--version"))
        .map(Into::into)
        .collect()
}

/// The environment names of a help text: `[env: NAME=]`.
fn variables(help: &str) -> BTreeSet<String> {
    let found = help.split("[env: ").skip(1);
    found.map(|rest| rest.split(['=', ']']).next().unwrap().to_owned()).collect()
}

fn help(subcommand: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_skillmount"))
        .args([subcommand, "--help"])
        .env_clear()
        .output()
        .expect("run skillmount");
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The rows of the tables in the section below a heading.
fn rows(text: &str, heading: &str) -> String {
    let (_, section) = text.split_once(heading).unwrap_or_else(|| panic!("no {heading:?}"));
    let level = heading.split(' ').next().unwrap();
    let end = section.find(&format!("\n{level} ")).unwrap_or(section.len());
    let rows = section[..end].lines().filter(|line| line.starts_with("| `"));
    rows.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_flag_of_the_driver_is_documented_and_the_reverse() {
    let help = help("node");
    let table = rows(&read("docs/install.md"), "## Flags of skillmount node");
    // A description may mention a flag of something else; the first cell is the flag.
    let first = |row: &str| row.split('|').nth(1).unwrap_or_default().to_owned();
    let documented: Vec<String> = table.lines().map(first).collect();
    assert_eq!(flags(&documented.join("\n")), flags(&help));
    for variable in variables(&help) {
        assert!(table.contains(&format!("`{variable}`")), "{variable} is not documented");
    }
}

#[test]
fn every_flag_for_skill_authors_is_documented() {
    let text = read("docs/skills.md");
    let limits = rows(&read("docs/install.md"), "## Flags of skillmount node");
    for subcommand in ["inspect", "pull"] {
        for flag in flags(&help(subcommand)) {
            let known =
                text.contains(&format!("`{flag}`")) || limits.contains(&format!("`{flag}`"));
            assert!(known, "{flag} of {subcommand} is not documented");
        }
    }
}

#[test]
fn every_attribute_is_documented_and_the_reverse() {
    let source = read("src/volume/attributes.rs");
    let (_, known) = source.split_once("const KNOWN").expect("the list of known keys");
    let (_, list) = known.split_once('=').unwrap();
    let list = &list[..list.find(';').unwrap()];
    let known: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    assert!(known.contains("reference"), "{known:?}");

    for (document, heading) in
        [("docs/pods.md", "## Attributes"), ("README.md", "## Volume attributes")]
    {
        let text = read(document);
        let rows = rows(&text, heading);
        let documented: BTreeSet<&str> =
            rows.lines().filter_map(|row| row.split('`').nth(1)).collect();
        assert_eq!(documented, known, "{document}");
    }
}

#[test]
fn the_toolchain_is_the_one_of_the_manifest() {
    let manifest = read("Cargo.toml");
    let (_, version) = manifest.split_once("rust-version = \"").unwrap();
    let version = version.split('"').next().unwrap();
    assert!(read("README.md").contains(&format!("Rust {version} ")), "README.md: Rust {version}");
}

/// The links of a list of pages, in order: what each is called, and the page.
fn chapters(text: &str) -> Vec<(String, String)> {
    let items = text.lines().filter_map(|line| {
        let (_, link) = line.split_once('[')?;
        let (title, rest) = link.split_once("](")?;
        let (page, _) = rest.split_once(')')?;
        Some((title.to_owned(), page.to_owned()))
    });
    // Pages of the repository that are not the book's are named, but are no chapters.
    items.filter(|(_, page)| !page.contains('/')).collect()
}

#[test]
fn the_book_lists_each_of_its_pages_once() {
    let summary = chapters(&read("docs/SUMMARY.md"));
    let mut listed: Vec<&str> = summary.iter().map(|(_, page)| page.as_str()).collect();
    listed.sort_unstable();
    let book = root().join("docs");
    let pages: Vec<String> = documents()
        .iter()
        .filter(|document| document.parent() == Some(&book))
        .map(|document| document.file_name().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "SUMMARY.md")
        .collect();
    assert_eq!(listed, pages);
}

#[test]
fn the_first_page_and_the_summary_agree() {
    let summary = chapters(&read("docs/SUMMARY.md"));
    let (first, others) = summary.split_first().unwrap();
    assert_eq!(first.1, "README.md");
    assert_eq!(chapters(&read("docs/README.md")), others);
    for (title, page) in &summary {
        let text = read(&format!("docs/{page}"));
        assert_eq!(text.lines().next(), Some(format!("# {title}").as_str()), "{page}");
    }
}
