//! YAML as tests look at it: in manifests below `deploy/`, and in the blocks of the book. Included
//! by path; nothing else of `tests/support` is needed for it.
// Every test binary uses its own part of this.
#![allow(dead_code)]
#![allow(clippy::panic, reason = "tests assert")]

use saphyr_parser::{Event, Parser};

/// A node. Scalars stay text: nothing here depends on their types.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    pub(crate) fn find(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(pairs) => pairs.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Goes down a path of keys, separated by slashes.
    pub(crate) fn at(&self, path: &str) -> &Self {
        path.split('/').fold(self, |node, key| {
            node.find(key).unwrap_or_else(|| panic!("no {key:?} of {path:?} in {node:?}"))
        })
    }

    pub(crate) fn text(&self, path: &str) -> &str {
        match self.at(path) {
            Self::Scalar(text) => text,
            other => panic!("{path:?} is {other:?}"),
        }
    }

    pub(crate) fn list(&self, path: &str) -> &[Self] {
        match self.at(path) {
            Self::List(items) => items,
            other => panic!("{path:?} is {other:?}"),
        }
    }

    /// The item of a list that has this name.
    pub(crate) fn named(&self, path: &str, name: &str) -> &Self {
        let mut items = self.list(path).iter();
        items.find(|item| item.text("name") == name).unwrap_or_else(|| panic!("no {name:?}"))
    }

    pub(crate) fn scalar(&self) -> &str {
        match self {
            Self::Scalar(text) => text,
            other => panic!("{other:?} is not a scalar"),
        }
    }

    pub(crate) fn walk<'a>(&'a self, see: &mut dyn FnMut(&'a Self)) {
        see(self);
        match self {
            Self::Scalar(_) => {}
            Self::List(items) => items.iter().for_each(|item| item.walk(see)),
            Self::Map(pairs) => pairs.iter().for_each(|(_, node)| node.walk(see)),
        }
    }
}

/// The documents of a stream.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, String> {
    let events: Result<Vec<_>, _> = Parser::new_from_str(text).collect();
    let mut events = events.map_err(|error| error.to_string())?.into_iter().map(|event| event.0);
    let mut documents = Vec::new();
    while let Some(event) = events.next() {
        match event {
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd => {}
            event => documents.push(node(event, &mut events)?),
        }
    }
    Ok(documents)
}

/// One node from the events that follow `event`.
fn node<'a>(event: Event<'a>, events: &mut dyn Iterator<Item = Event<'a>>) -> Result<Node, String> {
    let end = || "the document ends within a node".to_owned();
    match event {
        Event::Scalar(text, ..) => Ok(Node::Scalar(text.into_owned())),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match events.next().ok_or_else(end)? {
                    Event::SequenceEnd => return Ok(Node::List(items)),
                    event => items.push(node(event, events)?),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut pairs: Vec<(String, Node)> = Vec::new();
            loop {
                let key = match events.next().ok_or_else(end)? {
                    Event::MappingEnd => return Ok(Node::Map(pairs)),
                    event => match node(event, events)? {
                        Node::Scalar(key) => key,
                        other => return Err(format!("{other:?} is a key")),
                    },
                };
                if pairs.iter().any(|(known, _)| *known == key) {
                    return Err(format!("{key:?} is there twice"));
                }
                let value = events.next().ok_or_else(end)?;
                pairs.push((key, node(value, events)?));
            }
        }
        other => Err(format!("unexpected {other:?}")),
    }
}
