//! YAML as far as it is safe to read from strangers: bounded, and without the features that
//! make a small text large or give it types. The parser is pulled event by event, so that
//! nothing is built beyond a bound.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

/// How many events are taken. A collection of 100 entries has some 1000. The parser's time for a
/// long flow sequence grows with its square, so that this bounds time and not only memory.
const MAX_EVENTS: usize = 20_000;

/// A value. Scalars are texts: nothing here needs their types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Text(String),
    List(Vec<Value>),
    /// In order; of equal keys the last counts.
    Map(Vec<(String, Value)>),
}

/// A document and what was odd about it.
#[derive(Debug)]
pub(crate) struct Yaml {
    pub(crate) value: Value,
    /// Keys that a map had more than once.
    pub(crate) duplicates: Vec<String>,
}

/// Why a text is not read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum YamlError {
    /// `&name`: anchors let a small text stand for a large one.
    #[error("line {0}: an anchor (&), which is not allowed here")]
    Anchor(usize),
    /// `*name`.
    #[error("line {0}: an alias (*), which is not allowed here")]
    Alias(usize),
    /// `!tag`.
    #[error("line {0}: a tag (!), which is not allowed here")]
    Tag(usize),
    /// Lists and maps within each other.
    #[error("line {line}: nested deeper than {max} levels")]
    Depth {
        /// Where.
        line: usize,
        /// The limit.
        max: usize,
    },
    /// More than the parser is given.
    #[error("more than {MAX_EVENTS} values")]
    Events,
    /// A second document.
    #[error("line {0}: a second YAML document")]
    Documents(usize),
    /// A key that is a list or a map.
    #[error("line {0}: a key that is not a text")]
    Key(usize),
    /// Not YAML.
    #[error("line {line}: {problem}")]
    Syntax {
        /// Where.
        line: usize,
        /// The parser's words.
        problem: String,
    },
}

impl From<ScanError> for YamlError {
    fn from(error: ScanError) -> Self {
        let problem = error.info().chars().take(200).collect::<String>();
        Self::Syntax { line: error.marker().line(), problem: problem.escape_debug().to_string() }
    }
}

impl Value {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::List(_) | Self::Map(_) => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => {
                entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            Self::Null | Self::Text(_) | Self::List(_) => None,
        }
    }
}

enum Frame {
    List(Vec<Value>),
    Map { entries: Vec<(String, Value)>, key: Option<String> },
}

/// Reads one document, whose lists and maps are at most `max_depth` levels deep.
pub(crate) fn load(text: &str, max_depth: usize) -> Result<Yaml, YamlError> {
    let mut parser = Parser::new_from_str(text);
    let mut loader = Loader { stack: Vec::new(), root: None, duplicates: Vec::new() };
    for _ in 0..MAX_EVENTS {
        let Some(event) = parser.next_event() else { return Ok(loader.finish()) };
        let (event, span) = event?;
        let line = span.start.line();
        let (anchor, tagged) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (*anchor, tag.is_some())
            }
            Event::Alias(_) => return Err(YamlError::Alias(line)),
            _ => (0, false),
        };
        if anchor != 0 {
            return Err(YamlError::Anchor(line));
        }
        if tagged {
            return Err(YamlError::Tag(line));
        }
        match event {
            Event::DocumentStart(_) if loader.root.is_some() => {
                return Err(YamlError::Documents(line));
            }
            Event::Scalar(text, style, ..) => {
                let null = style == ScalarStyle::Plain
                    && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                let value = if null { Value::Null } else { Value::Text(text.into_owned()) };
                loader.value(value, line)?;
            }
            Event::SequenceStart(..) => loader.push(Frame::List(Vec::new()), max_depth, line)?,
            Event::MappingStart(..) => {
                loader.push(Frame::Map { entries: Vec::new(), key: None }, max_depth, line)?;
            }
            Event::SequenceEnd | Event::MappingEnd => loader.pop(line)?,
            Event::StreamEnd => return Ok(loader.finish()),
            _ => {}
        }
    }
    Err(YamlError::Events)
}

struct Loader {
    stack: Vec<Frame>,
    root: Option<Value>,
    duplicates: Vec<String>,
}

impl Loader {
    fn push(&mut self, frame: Frame, max: usize, line: usize) -> Result<(), YamlError> {
        if matches!(self.stack.last(), Some(Frame::Map { key: None, .. })) {
            return Err(YamlError::Key(line));
        }
        if self.stack.len() >= max {
            return Err(YamlError::Depth { line, max });
        }
        self.stack.push(frame);
        Ok(())
    }

    fn pop(&mut self, line: usize) -> Result<(), YamlError> {
        match self.stack.pop() {
            Some(Frame::List(items)) => self.value(Value::List(items), line),
            Some(Frame::Map { entries, .. }) => {
                let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
                keys.sort_unstable();
                let twice = keys.windows(2).filter(|pair| pair[0] == pair[1]);
                self.duplicates.extend(twice.map(|pair| pair[0].to_owned()));
                self.value(Value::Map(entries), line)
            }
            // The parser balances its events.
            None => Ok(()),
        }
    }

    fn value(&mut self, value: Value, line: usize) -> Result<(), YamlError> {
        match self.stack.last_mut() {
            None => self.root = Some(value),
            Some(Frame::List(items)) => items.push(value),
            Some(Frame::Map { entries, key }) => match (key.take(), value) {
                (Some(name), value) => entries.push((name, value)),
                (None, Value::Text(text)) => *key = Some(text),
                (None, Value::Null) => *key = Some("null".into()),
                (None, Value::List(_) | Value::Map(_)) => return Err(YamlError::Key(line)),
            },
        }
        Ok(())
    }

    fn finish(self) -> Yaml {
        Yaml { value: self.root.unwrap_or(Value::Null), duplicates: self.duplicates }
    }
}

#[cfg(test)]
mod tests;
