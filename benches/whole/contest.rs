//! Contestants that do the same thing, measured in turns.

use std::time::Duration;

use serde::Serialize;

use crate::times::Times;

/// How a round went: how long it took, or why it could not be done.
pub(crate) type Round = Result<Duration, String>;

/// Somebody who does it. Prepares and cleans up in each round, outside of the time.
pub(crate) struct Contestant<'a> {
    name: String,
    run: Box<dyn FnMut() -> Round + 'a>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() -> Round + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Contest {
    pub(crate) title: String,
    pub(crate) entries: Vec<Entry>,
}

/// One contestant's part.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Milliseconds.
    pub(crate) times: Times,
    /// Why there are none.
    pub(crate) failed: Option<String>,
}

impl Contest {
    /// Lets each contestant run once for nothing, so that all caches are warm, and then `rounds`
    /// times, in another order each time. One that fails is out.
    pub(crate) fn run(
        title: impl Into<String>,
        rounds: usize,
        mut contestants: Vec<Contestant<'_>>,
    ) -> Self {
        let title = title.into();
        eprintln!("{title}: {rounds} rounds of {}", contestants.len());
        let mut entries: Vec<Entry> = contestants
            .iter()
            .map(|c| Entry { name: c.name.clone(), times: Times::default(), failed: None })
            .collect();
        for round in 0..=rounds {
            for turn in 0..contestants.len() {
                let number = (round + turn) % contestants.len();
                let entry = &mut entries[number];
                if entry.failed.is_some() {
                    continue;
                }
                match (contestants[number].run)() {
                    Ok(time) if round > 0 => entry.times.push(time),
                    Ok(_) => {}
                    Err(why) => {
                        eprintln!("  {}: {why}", entry.name);
                        entry.failed = Some(why);
                    }
                }
            }
        }
        Self { title, entries }
    }

    pub(crate) fn times(&self, name: &str) -> Option<&Times> {
        let found = self.entries.iter().find(|entry| entry.name == name && entry.failed.is_none());
        found.map(|entry| &entry.times)
    }

    /// The median of one whose name this is, in milliseconds.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        self.times(name).map(Times::median)
    }
}
