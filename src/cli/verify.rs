//! `skillmount verify`: whether the stored files are still what they were. It takes no lock and
//! changes nothing, so it may be run beside the driver.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::inspect::{Output, one_line};
use super::{Failure, print};
use crate::observability::chain;
use crate::store::{Verdict, peek_trees, peek_verify};

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Keys of the trees to verify [default: all]
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// Directory for trees and records
    #[arg(long, env = "SKILLMOUNT_STATE_DIR", default_value = "/var/lib/skillmount")]
    state_dir: PathBuf,
    /// text for people, json for programs
    #[arg(long, short, default_value = "text")]
    output: Output,
}

impl VerifyArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut keys = peek_trees(&self.state_dir).map_err(|e| Failure::failed(&e))?;
        if let Some(unknown) = self.keys.iter().find(|key| !keys.contains(key)) {
            return Err(Failure::Failed(format!("there is no tree {unknown:?}")));
        }
        keys.retain(|key| self.keys.is_empty() || self.keys.contains(key));
        let mut found = Vec::new();
        for key in keys {
            match peek_verify(&self.state_dir, &key) {
                // Removed by the driver meanwhile.
                Ok(Verdict::Gone) => {}
                Ok(Verdict::Whole) => found.push((key, State::Whole)),
                Ok(Verdict::Unlisted) => found.push((key, State::Unknown)),
                Ok(Verdict::Damaged(damages)) => {
                    let damages = damages.iter().map(ToString::to_string).collect();
                    found.push((key, State::Damaged(damages)));
                }
                // The others count all the same.
                Err(error) => found.push((key, State::Unread(chain(&error)))),
            }
        }
        match self.output {
            Output::Text => print(&text(&found))?,
            Output::Json => print(&format!("{:#}\n", json(&found)))?,
        }
        let is_bad = |state: &State| matches!(state, State::Damaged(_) | State::Unread(_));
        match found.iter().any(|(_, state)| is_bad(state)) {
            true => Err(Failure::Told),
            false => Ok(()),
        }
    }
}

/// What is said of a tree.
enum State {
    Whole,
    Unknown,
    Damaged(Vec<String>),
    /// It could not be verified at this moment.
    Unread(String),
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Unknown => "unknown",
            Self::Damaged(_) => "damaged",
            Self::Unread(_) => "unread",
        }
    }

    /// What is wrong.
    fn findings(&self) -> &[String] {
        match self {
            Self::Whole | Self::Unknown => &[],
            Self::Damaged(damages) => damages,
            Self::Unread(error) => std::slice::from_ref(error),
        }
    }
}

fn text(found: &[(String, State)]) -> String {
    let mut text = String::new();
    for (key, state) in found {
        for finding in state.findings() {
            text.push_str(&format!("tree {key}: {}\n", one_line(finding)));
        }
        if matches!(state, State::Unknown) {
            text.push_str(&format!("tree {key}: nobody knows what its files were\n"));
        }
    }
    let count = |name| found.iter().filter(|(_, state)| state.name() == name).count();
    text.push_str(&format!(
        "trees whole: {}, damaged: {}, not known: {}\n",
        count("whole"),
        count("damaged") + count("unread"),
        count("unknown")
    ));
    text
}

/// The documented output for programs.
fn json(found: &[(String, State)]) -> Value {
    let tree = |(key, state): &(String, State)| json!({ "key": key, "state": state.name(), "damages": state.findings() });
    json!({ "trees": found.iter().map(tree).collect::<Vec<_>>() })
}
