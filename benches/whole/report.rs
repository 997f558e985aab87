//! All results of a run.

use serde::Serialize;

use crate::contest::Contest;
use crate::crowd::{Crowd, Series};
use crate::footprint::Footprint;
use crate::machine::Machine;
use crate::sharing::Sharing;
use crate::targets::Target;
use crate::tools::Version;
use crate::trips::Trips;

/// What was not measured is empty or absent.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Seconds since 1970.
    pub(crate) at: u64,
    /// Not built for speed, or with skills that are too small: the numbers say nothing.
    pub(crate) trial: bool,
    pub(crate) versions: Vec<Version>,
    pub(crate) skills: Vec<String>,
    pub(crate) cold: Vec<Contest>,
    pub(crate) warm: Vec<Contest>,
    pub(crate) trips: Vec<Trips>,
    pub(crate) crowds: Vec<Crowd>,
    pub(crate) series: Option<Series>,
    pub(crate) sharing: Option<Sharing>,
    pub(crate) footprint: Option<Footprint>,
    pub(crate) targets: Vec<Target>,
}

impl Report {
    pub(crate) fn contest(&self, title: &str) -> Option<&Contest> {
        self.cold.iter().chain(&self.warm).find(|contest| contest.title == title)
    }
}
