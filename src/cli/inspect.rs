//! `skillmount inspect`: what a reference would mount, and why.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::source::SourceArgs;
use super::{Failure, print, runtime};
use crate::artifact::skill::Shape;
use crate::observability::chain;
use crate::pull::{
    HumanBytes, Inspected, InspectedPart, PullOptions, PullPolicy, PullRequest, inspect,
};
use crate::reference::Reference;

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// What to look at
    #[arg(value_name = "REF")]
    reference: String,
    /// text for people, json for programs
    #[arg(long, short, default_value = "text")]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

impl InspectArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let reference: Reference = self.reference.parse().map_err(|e| Failure::usage(&e))?;
        let registry = self.source.registry()?;
        let request = PullRequest {
            reference: reference.clone(),
            policy: PullPolicy::Always,
            options: PullOptions { validation: self.source.validation, ..PullOptions::default() },
            keyring: Arc::new(self.source.keyring()?),
        };
        let config = self.source.limits.config();
        let found = runtime()?
            .block_on(inspect(&registry, &config, &request))
            .map_err(|e| Failure::Failed(format!("cannot inspect {reference}: {}", chain(&e))))?;
        match self.output {
            Output::Text => print(&text(&reference, &found)),
            Output::Json => print(&format!("{:#}\n", json(&reference, &found))),
        }
    }
}

fn text(reference: &Reference, found: &Inspected) -> String {
    let mut text = format!("reference  {reference}\ndigest     {}\n", found.digest);
    if found.collection {
        text.push_str(&format!("collection of {} skills\n", found.parts.len()));
    }
    for part in &found.parts {
        if found.collection {
            text.push_str(&format!("\n{}@{}\n", part.repository, part.digest));
        }
        let download: u64 = part.layers.iter().map(|(_, _, size)| size).sum();
        text.push_str(&format!("format     {}\n", part.format));
        text.push_str(&format!("shape      {}\n", shape(part)));
        text.push_str(&format!(
            "size       {} to download, {} in {} files\n",
            HumanBytes(download),
            HumanBytes(part.bytes),
            part.files
        ));
        for skill in &part.skills {
            let description = skill.description.as_deref().unwrap_or("(no description)");
            text.push_str(&format!("skill      {}: {}\n", skill.name, one_line(description)));
        }
        for warning in &part.warnings {
            text.push_str(&format!("warning    {warning}\n"));
        }
    }
    text
}

fn shape(part: &InspectedPart) -> &'static str {
    match part.shape {
        Shape::Single => "single",
        Shape::Collection => "collection",
        Shape::Raw => "raw",
    }
}

/// A description may hold anything: it stays on its line and away from the terminal's controls.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").escape_debug().to_string()
}

/// The documented output for programs; fields are added, never renamed.
fn json(reference: &Reference, found: &Inspected) -> serde_json::Value {
    let part = |part: &InspectedPart| {
        let layer = |(digest, media_type, size): &(_, String, u64)| json!({ "digest": digest, "mediaType": media_type, "size": size });
        let skill = |skill: &crate::artifact::skill::Skill| {
            json!({
                "name": skill.name,
                "description": skill.description,
                "path": skill.root.to_string(),
                "files": skill.files,
                "bytes": skill.bytes,
            })
        };
        json!({
            "repository": part.repository.to_string(),
            "digest": part.digest,
            "format": part.format,
            "shape": shape(part),
            "layers": part.layers.iter().map(layer).collect::<Vec<_>>(),
            "skills": part.skills.iter().map(skill).collect::<Vec<_>>(),
            "files": part.files,
            "bytes": part.bytes,
            "warnings": part.warnings,
        })
    };
    json!({
        "reference": reference,
        "digest": found.digest,
        "collection": found.collection,
        "artifacts": found.parts.iter().map(part).collect::<Vec<_>>(),
    })
}
