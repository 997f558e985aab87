//! YAML as a tree, for tests of what is deployed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]
#![allow(dead_code, reason = "not every test binary needs all of it")]

use std::fs;
use std::path::Path;

use saphyr_parser::{Event, Parser};

/// A YAML node. Scalars stay text: nothing here depends on their types.
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

    pub(crate) fn walk(&self, see: &mut dyn FnMut(&Self)) {
        see(self);
        match self {
            Self::Scalar(_) => {}
            Self::List(items) => items.iter().for_each(|item| item.walk(see)),
            Self::Map(pairs) => pairs.iter().for_each(|(_, node)| node.walk(see)),
        }
    }
}

/// One node from the events that follow `event`.
fn node(event: Event<'_>, events: &mut dyn Iterator<Item = Event<'static>>) -> Node {
    match event {
        Event::Scalar(text, ..) => Node::Scalar(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match events.next().unwrap() {
                    Event::SequenceEnd => return Node::List(items),
                    event => items.push(node(event, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut pairs: Vec<(String, Node)> = Vec::new();
            loop {
                let key = match events.next().unwrap() {
                    Event::MappingEnd => return Node::Map(pairs),
                    event => node(event, events).scalar().to_owned(),
                };
                assert!(pairs.iter().all(|(known, _)| *known != key), "{key:?} is there twice");
                let value = events.next().unwrap();
                pairs.push((key, node(value, events)));
            }
        }
        other => panic!("unexpected {other:?}"),
    }
}

fn parse(text: &'static str) -> Vec<Node> {
    let mut events = Parser::new_from_str(text).map(|event| event.unwrap().0);
    let mut documents = Vec::new();
    while let Some(event) = events.next() {
        match event {
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd => {}
            event => documents.push(node(event, &mut events)),
        }
    }
    documents
}

/// The documents of a file.
pub(crate) fn load(path: &Path) -> Vec<Node> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    parse(text.leak())
}
