//! `skillmount inspect`: what a reference would mount, and why. For authors it is the linter of
//! their CI: every warning ends with the rule behind it in brackets, and `--validation strict`
//! makes each an error.
//!
//! It exits with 0 if the artifact would be mounted, 1 if it is refused or cannot be had, and 64
//! if the command line is wrong. With `--output json` standard output is one object: the fields
//! of [`json`], or `reference`, `error` and `findings` (one text each) with exit code 1. Fields
//! are added, never renamed or taken away.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::source::{SourceArgs, explain};
use super::{Failure, print, runtime};
use crate::artifact::path::TreePath;
use crate::artifact::skill::Shape;
use crate::pull::{
    HumanBytes, Inspected, InspectedPart, PullError, PullOptions, PullPolicy, PullRequest, Source,
    Tenant, inspect,
};

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// What to look at: a reference, oci:PATH[:TAG] or oci-archive:PATH[:TAG]
    #[arg(value_name = "REF")]
    reference: String,
    /// text for people, json for programs
    #[arg(long, short, default_value = "text")]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Text,
    Json,
}

impl InspectArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let source: Source = self.reference.parse().map_err(|e| Failure::usage(&e))?;
        let registry = self.source.registry()?;
        let request = PullRequest {
            source: source.clone(),
            policy: PullPolicy::Always,
            options: PullOptions {
                sub_path: self.source.sub_path.as_deref().map(sub_path).transpose()?,
                validation: self.source.validation,
                ..PullOptions::default()
            },
            logins: self.source.logins()?,
            tenant: Tenant::default(),
        };
        let config = self.source.limits.config();
        match (runtime()?.block_on(inspect(&registry, &config, &request)), self.output) {
            (Ok(found), Output::Text) => print(&text(&source, &found)),
            (Ok(found), Output::Json) => print(&format!("{:#}\n", json(&source, &found))),
            (Err(error), output) => Err(failed(&request, &error, output)),
        }
    }
}

fn sub_path(text: &str) -> Result<TreePath, Failure> {
    TreePath::parse(text.as_bytes()).map_err(|error| {
        Failure::Usage(format!("--sub-path {text:?}: {}", crate::observability::chain(&error)))
    })
}

/// Tells of a refusal: each finding of a strict validation on a line of its own.
fn failed(request: &PullRequest, error: &PullError, output: Output) -> Failure {
    let source = &request.source;
    let findings = error.findings();
    let what = match findings.len() {
        0 => explain(error, &request.logins),
        1 => "strict validation found 1 problem".into(),
        count => format!("strict validation found {count} problems"),
    };
    let message = format!("cannot inspect {source}: {what}");
    let (text, failure) = match output {
        Output::Text => {
            let line = |finding: &String| format!("finding    {}\n", one_line(finding));
            (findings.iter().map(line).collect(), Failure::Failed(message))
        }
        Output::Json => {
            let json =
                json!({ "reference": source.to_string(), "error": message, "findings": findings });
            (format!("{json:#}\n"), Failure::Told)
        }
    };
    match print(&text) {
        Ok(()) => failure,
        Err(error) => error,
    }
}

fn text(source: &Source, found: &Inspected) -> String {
    let mut text = format!("reference  {source}\ndigest     {}\n", found.digest);
    if found.collection {
        text.push_str(&format!("collection of {} skills\n", found.parts.len()));
    }
    for part in &found.parts {
        if found.collection {
            text.push_str(&format!("\n{}@{}\n", part.place, part.digest));
        }
        let download: u64 = part.layers.iter().map(|(_, _, size)| size).sum();
        text.push_str(&format!("format     {}\n", part.format));
        text.push_str(&format!("shape      {}\n", shape(part)));
        text.push_str(&format!(
            "size       {} to download, {} in {} files\n",
            HumanBytes(download),
            HumanBytes(part.totals.bytes),
            part.totals.files
        ));
        for skill in &part.skills {
            let description = skill.description.as_deref().unwrap_or("(no description)");
            text.push_str(&format!("skill      {}: {}\n", skill.name, one_line(description)));
        }
        for warning in &part.warnings {
            text.push_str(&format!("warning    {}\n", one_line(warning)));
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
/// Quotes and backslashes are as harmless as they are common.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for char in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        match char {
            '"' | '\'' | '\\' => line.push(char),
            _ => line.extend(char.escape_debug()),
        }
    }
    line
}

/// The documented output for programs; fields are added, never renamed.
fn json(source: &Source, found: &Inspected) -> serde_json::Value {
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
            "repository": part.place,
            "digest": part.digest,
            "format": part.format,
            "shape": shape(part),
            "layers": part.layers.iter().map(layer).collect::<Vec<_>>(),
            "skills": part.skills.iter().map(skill).collect::<Vec<_>>(),
            "files": part.totals.files,
            "bytes": part.totals.bytes,
            "warnings": part.warnings,
        })
    };
    json!({
        "reference": source.to_string(),
        "digest": found.digest,
        "collection": found.collection,
        "artifacts": found.parts.iter().map(part).collect::<Vec<_>>(),
    })
}
