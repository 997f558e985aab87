//! What a volume is to show, and how far its calls have come, as its caller knows it.

use std::collections::BTreeMap;
use std::path::Path;

use skillmount::mount::Mount;

use crate::CANARY;
use crate::catalogue::{Catalogue, Selector};
use crate::support::Random;
use crate::support::driver::Volume;

/// How many events of a volume are remembered.
const MAX_HISTORY: usize = 80;

/// A place for volumes, one after the other. A volume's calls never overlap.
pub(crate) struct Slot {
    pub(crate) number: usize,
    pub(crate) random: Random,
    /// Of 100 volumes that are looked at again, so many go.
    pub(crate) haste: u64,
    generation: u64,
    pub(crate) state: State,
    pub(crate) history: Vec<String>,
}

/// What the caller knows of its volume.
pub(crate) enum State {
    /// There is none.
    Idle,
    /// It was asked for; the answer, if there was one, was not OK.
    Publishing(Ask),
    /// The answer was OK, and this was there.
    Published(Ask, Shown),
    /// It is to go; that was not answered with OK.
    Unpublishing(Ask),
}

/// A volume as it was asked for.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) volume: Volume,
    pub(crate) parts: Vec<Part>,
    pub(crate) is_bind: bool,
    /// Whether the pod may have it.
    pub(crate) is_allowed: bool,
}

#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) repository: usize,
    pub(crate) selector: Selector,
    /// Among the names of the moving tag, the first that may be shown.
    since: usize,
}

/// What was there when publish was answered. From then on nothing else may ever be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    pub(crate) mount: Mount,
    /// Of each part.
    pub(crate) versions: Vec<usize>,
}

impl Slot {
    pub(crate) fn new(number: usize, random: Random) -> Self {
        // Some volumes live long, most do not.
        let haste = if number.is_multiple_of(3) { 2 } else { 60 };
        Self { number, random, haste, generation: 0, state: State::Idle, history: vec![] }
    }

    pub(crate) fn ask(&self) -> Option<&Ask> {
        match &self.state {
            State::Idle => None,
            State::Publishing(ask) | State::Published(ask, _) | State::Unpublishing(ask) => {
                Some(ask)
            }
        }
    }

    pub(crate) fn note(&mut self, event: impl Into<String>) {
        if self.history.len() == MAX_HISTORY {
            self.history.remove(0);
        }
        self.history.push(event.into());
    }

    /// The next volume of this slot.
    pub(crate) fn next(&mut self, catalogue: &Catalogue, root: &Path) -> Ask {
        self.generation += 1;
        let random = &mut self.random;
        let count = [1, 1, 1, 2, 3][random.index(5)];
        let always = random.percent(50);
        let mut parts: Vec<Part> = vec![];
        while parts.len() < count {
            let repository = random.index(catalogue.repositories.len());
            let skill = |at: usize| &catalogue.repositories[at].versions[0].skill.name;
            // The names of skills in one volume differ.
            if parts.iter().any(|part| skill(part.repository) == skill(repository)) {
                continue;
            }
            let version = random.index(catalogue.repositories[repository].versions.len());
            let selector = match random.below(4) {
                0 => Selector::Tag(version),
                1 => Selector::Digest(version),
                _ => Selector::Moving,
            };
            // What is stored may be as old as the tag.
            let since = if always { catalogue.repositories[repository].began() } else { 0 };
            parts.push(Part { repository, selector, since });
        }
        let mut reference = String::new();
        for part in &parts {
            reference += &format!("{}\n", catalogue.reference(part.repository, part.selector));
        }
        let id = format!("slot-{}-{}", self.number, self.generation);
        let policy = if always { "Always" } else { "IfNotPresent" };
        let mut volume = Volume::new(root, &id, reference.trim()).attribute("pullPolicy", policy);
        let is_bind = count == 1 && random.percent(30);
        if is_bind {
            volume = volume.attribute("seal", "bind");
        }
        let is_private = |part: &Part| catalogue.repositories[part.repository].is_private();
        let login = random.below(10);
        let host = catalogue.registry.host();
        volume = match login {
            0 => volume,
            1 => volume.secret(&host, "alice", &format!("{CANARY}-wrong")),
            _ => volume.secret(&host, "alice", &format!("{CANARY}-alice")),
        };
        let is_allowed = login > 1 || !parts.iter().any(is_private);
        let words = format!(
            "{id}: {} {policy}{}{}",
            reference.trim().replace('\n', " "),
            if is_bind { " bind" } else { "" },
            if is_allowed { "" } else { " without the right login" },
        );
        self.note(words);
        Ask { volume, parts, is_bind, is_allowed }
    }
}

impl Ask {
    pub(crate) fn id(&self) -> &str {
        &self.volume.id
    }

    /// The versions that a part may show.
    pub(crate) fn allowed(&self, catalogue: &Catalogue, part: &Part) -> Vec<usize> {
        match part.selector {
            Selector::Tag(version) | Selector::Digest(version) => vec![version],
            Selector::Moving => catalogue.repositories[part.repository].named_since(part.since),
        }
    }

    /// Where in the volume a part is: a single skill is the volume itself.
    pub(crate) fn prefix(&self, catalogue: &Catalogue, part: &Part) -> String {
        match self.parts.len() {
            1 => String::new(),
            _ => {
                let name = &catalogue.repositories[part.repository].versions[0].skill.name;
                format!("{name}/")
            }
        }
    }

    /// Every entry of the volume if its parts have these versions, as [`crate::support::listing`]
    /// writes them.
    pub(crate) fn listing(&self, catalogue: &Catalogue, versions: &[usize]) -> Vec<String> {
        let mut lines = BTreeMap::new();
        for (part, version) in self.parts.iter().zip(versions) {
            let prefix = self.prefix(catalogue, part);
            if let Some(name) = prefix.strip_suffix('/') {
                lines.insert(name.to_owned(), format!("drwxr-xr-x {name}"));
            }
            let skill = &catalogue.repositories[part.repository].versions[*version].skill;
            for line in skill.listing() {
                let (mode, rest) = line.split_once(' ').unwrap();
                let path = rest.split(' ').next().unwrap();
                lines.insert(format!("{prefix}{path}"), format!("{mode} {prefix}{rest}"));
            }
        }
        lines.into_values().collect()
    }
}
