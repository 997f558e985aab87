//! TOML with types: what a table says, or the line in which it says something else.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::error::HostsError;

/// A file's text, for lines in messages.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl<'a> Source<'a> {
    /// The file's bytes as text.
    pub(super) fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, HostsError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self { path, text }),
            Err(error) => {
                let text = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                let line = 1 + text.matches('\n').count();
                let problem = "it is not UTF-8".into();
                Err(HostsError::Invalid { path: path.into(), line, problem })
            }
        }
    }

    /// Parses the text. The parser's message names no value of the file.
    pub(super) fn parse(&self) -> Result<DeTable<'a>, HostsError> {
        match DeTable::parse(self.text) {
            Ok(table) => Ok(table.into_inner()),
            Err(error) => {
                let problem = error.message().lines().next().unwrap_or_default().to_owned();
                Err(self.invalid(error.span().unwrap_or_default(), problem))
            }
        }
    }

    fn invalid(&self, span: Range<usize>, problem: impl Into<String>) -> HostsError {
        let before = self.text.as_bytes().get(..span.start).unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        HostsError::Invalid { path: self.path.into(), line, problem: problem.into() }
    }
}

/// A value and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    source: Source<'a>,
    name: &'a str,
    start: usize,
    value: &'a DeValue<'a>,
}

impl<'a> Value<'a> {
    /// An error at this value's line.
    pub(super) fn invalid(&self, problem: impl Into<String>) -> HostsError {
        self.source.invalid(self.start..self.start, problem)
    }

    fn wrong(&self, wanted: &str) -> HostsError {
        self.invalid(format!("{:?} is not {wanted}", self.name))
    }

    pub(super) fn text(&self) -> Result<&'a str, HostsError> {
        self.value.as_str().ok_or_else(|| self.wrong("a string"))
    }

    pub(super) fn boolean(&self) -> Result<bool, HostsError> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// The elements of a list; what is no list is one element.
    pub(super) fn elements(&self) -> Vec<Value<'a>> {
        let Some(array) = self.value.as_array() else { return vec![*self] };
        let element = |value: &'a toml::Spanned<DeValue<'a>>| Value {
            value: value.get_ref(),
            start: value.span().start,
            ..*self
        };
        array.iter().map(element).collect()
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    pub(super) fn table(&self) -> Result<Table<'a>, HostsError> {
        let table = self.value.as_table().ok_or_else(|| self.wrong("a table"))?;
        Ok(Table { source: self.source, table })
    }
}

/// A table.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    source: Source<'a>,
    table: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    pub(super) fn new(source: Source<'a>, table: &'a DeTable<'a>) -> Self {
        Self { source, table }
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.entries().into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// All entries in the file's order.
    pub(super) fn entries(&self) -> Vec<(&'a str, Value<'a>)> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (
            &'a toml::Spanned<std::borrow::Cow<'a, str>>,
            &'a toml::Spanned<DeValue<'a>>,
        )| {
            let name: &'a str = key.get_ref();
            let start = key.span().start;
            (name, Value { source: self.source, name, start, value: value.get_ref() })
        };
        entries.into_iter().map(entry).collect()
    }
}
