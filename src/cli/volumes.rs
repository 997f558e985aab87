//! `skillmount volumes`: what is published on this node, as the driver's records say. It takes no
//! lock and changes nothing, so it may be run beside the driver.
//!
//! With `--output json` standard output is one object, see [`json`]. Fields are added, never
//! renamed or taken away.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::inspect::{Output, one_line};
use super::{Failure, print};
use crate::pull::HumanBytes;
use crate::store::{Record, RecordState, RecordedReference, peek_records};

#[derive(Debug, Args)]
pub(super) struct VolumesArgs {
    /// Directory for trees and records
    #[arg(long, env = "SKILLMOUNT_STATE_DIR", default_value = "/var/lib/skillmount")]
    state_dir: PathBuf,
    /// text for people, json for programs
    #[arg(long, short, default_value = "text")]
    output: Output,
}

impl VolumesArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (records, odd) = peek_records(&self.state_dir).map_err(|e| Failure::failed(&e))?;
        match self.output {
            Output::Text => print(&text(&records, &odd)),
            Output::Json => print(&format!("{:#}\n", json(&records, &odd))),
        }
    }
}

fn text(records: &[Record], odd: &[PathBuf]) -> String {
    let mut text = String::new();
    for record in records {
        let pod = &record.pod;
        text.push_str(&format!("volume     {}\n", one_line(&record.volume_id)));
        text.push_str(&format!(
            "pod        {}/{}\n",
            one_line(&pod.namespace),
            one_line(&pod.name)
        ));
        let state = match record.state {
            RecordState::Publishing => "publishing",
            RecordState::Published => "published",
        };
        text.push_str(&format!("state      {state}\n"));
        for found in &record.references {
            text.push_str(&format!(
                "reference  {}\ndigest     {}\n",
                found.reference, found.digest
            ));
        }
        if !record.skills.is_empty() {
            text.push_str(&format!("skills     {}\n", one_line(&record.skills.join(", "))));
        }
        let totals = record.totals;
        text.push_str(&format!(
            "size       {} in {} files\n\n",
            HumanBytes(totals.bytes),
            totals.files
        ));
    }
    for path in odd {
        text.push_str(&format!("unreadable {}\n", one_line(&path.display().to_string())));
    }
    text.push_str(&match records.len() {
        1 => "1 volume\n".into(),
        count => format!("{count} volumes\n"),
    });
    text
}

/// The documented output for programs.
fn json(records: &[Record], odd: &[PathBuf]) -> Value {
    let volume = |record: &Record| {
        let reference = |found: &RecordedReference| json!({ "reference": found.reference.to_string(), "digest": found.digest });
        json!({
            "volumeId": record.volume_id,
            "target": record.target,
            "state": record.state,
            "pod": {
                "namespace": record.pod.namespace,
                "name": record.pod.name,
                "uid": record.pod.uid,
                "serviceAccount": record.pod.service_account,
            },
            "references": record.references.iter().map(reference).collect::<Vec<_>>(),
            "skills": record.skills,
            "files": record.totals.files,
            "bytes": record.totals.bytes,
            "seal": record.seal,
            "readOnly": record.read_only,
            "publishedAt": record.published_at,
            "warnings": record.warnings,
        })
    };
    json!({
        "volumes": records.iter().map(volume).collect::<Vec<_>>(),
        "unreadable": odd.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
    })
}
