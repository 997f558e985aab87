//! `skillmount verify`: whether the stored files are still what they were. It takes no lock and
//! changes nothing, so it may be run beside the driver.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::inspect::{Output, one_line};
use super::{Failure, print};
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
            let verdict =
                peek_verify(&self.state_dir, &key).map_err(|error| Failure::failed(&error))?;
            // Removed by the driver meanwhile.
            if verdict != Verdict::Gone {
                found.push((key, verdict));
            }
        }
        match self.output {
            Output::Text => print(&text(&found))?,
            Output::Json => print(&format!("{:#}\n", json(&found)))?,
        }
        match found.iter().any(|(_, verdict)| matches!(verdict, Verdict::Damaged(_))) {
            true => Err(Failure::Told),
            false => Ok(()),
        }
    }
}

fn text(found: &[(String, Verdict)]) -> String {
    let mut text = String::new();
    let (mut whole, mut damaged, mut unlisted) = (0, 0, 0);
    for (key, verdict) in found {
        match verdict {
            Verdict::Damaged(damages) => {
                damaged += 1;
                for damage in damages {
                    text.push_str(&format!("tree {key}: {}\n", one_line(&damage.to_string())));
                }
            }
            Verdict::Unlisted => {
                unlisted += 1;
                text.push_str(&format!("tree {key}: nobody knows what its files were\n"));
            }
            Verdict::Whole | Verdict::Gone => whole += 1,
        }
    }
    text.push_str(&format!("trees whole: {whole}, damaged: {damaged}, not known: {unlisted}\n"));
    text
}

/// The documented output for programs.
fn json(found: &[(String, Verdict)]) -> Value {
    let tree = |(key, verdict): &(String, Verdict)| {
        let (state, damages) = match verdict {
            Verdict::Damaged(damages) => ("damaged", damages.as_slice()),
            Verdict::Unlisted => ("unknown", &[][..]),
            Verdict::Whole | Verdict::Gone => ("whole", &[][..]),
        };
        let damages: Vec<_> = damages.iter().map(ToString::to_string).collect();
        json!({ "key": key, "state": state, "damages": damages })
    };
    json!({ "trees": found.iter().map(tree).collect::<Vec<_>>() })
}
