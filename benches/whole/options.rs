//! What a run measures, and where its results go.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};

use crate::trips;

/// Measures the driver, the tools that people would use instead, and the floors, in one run.
#[derive(Debug, Clone, Parser)]
#[command(name = "whole")]
pub(crate) struct Options {
    /// Small skills and few rounds: whether the harness works, in less than a minute
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds of each cold contest
    #[arg(long, value_name = "N", default_value_t = 9)]
    pub(crate) rounds: usize,
    /// Rounds of the contests of the large skill; on ext4 without a journal, where nothing is removed
    /// before the end, each takes 3.5 GB of disk
    #[arg(long, value_name = "N", default_value_t = 9)]
    pub(crate) large_rounds: usize,
    /// Parts to measure [default: all]
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// The driver's binary [default: the one that cargo built with the harness]
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_skillmount"))]
    pub(crate) binary: PathBuf,
    /// Builds to compare it with
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) compare: Vec<Other>,
    /// Directory for trees and what the peers write, on the file system that is to be measured
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub(crate) work: PathBuf,
    /// File for all samples [default: target/bench/whole-SECONDS.json]
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write docs/benchmarks.md and its plot anew
    #[arg(long)]
    pub(crate) write_docs: bool,
    /// cargo says so when it wants benchmarks measured, not tried
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

/// The driver, built in another way.
#[derive(Debug, Clone)]
pub(crate) struct Other {
    pub(crate) name: String,
    pub(crate) binary: PathBuf,
}

impl FromStr for Other {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = text.split_once('=').ok_or("not of the form NAME=FILE")?;
        Ok(Self { name: name.into(), binary: file.into() })
    }
}

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Cold,
    Warm,
    Trips,
    Crowd,
    Sharing,
    Footprint,
}

impl Options {
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Rounds of a contest, or the few of a quick run.
    pub(crate) fn rounds(&self, wanted: usize) -> usize {
        if self.quick { 3 } else { wanted }
    }

    /// How many small skills are needed that no driver has: by three contestants in two cold
    /// contests, and by two in four contests of round trips, each of which has a round that does not
    /// count and one that makes the connection.
    pub(crate) fn fresh(&self) -> usize {
        2 * 3 * (self.rounds(self.rounds) + 2) + 4 * 2 * (self.rounds(trips::ROUNDS) + 2)
    }

    /// How many volumes there are at most.
    pub(crate) fn crowd(&self) -> usize {
        if self.quick { 20 } else { 500 }
    }
}
