//! What the registry has: skills in several versions, under tags that move.

use std::sync::Mutex;

use skillmount::reference::Digest;

use crate::CANARY;
use crate::support::Random;
use crate::support::auth::{Auth, User};
use crate::support::{Options, Registry, Skill, artifacts};

/// The tag that moves.
const MOVING: &str = "latest";
const VERSIONS: usize = 4;

/// The skill of each repository, by its number. Two repositories have the same skills: what a tree
/// is made of is the same, who may read it is not.
const REPOSITORIES: [(&str, usize); 6] = [
    ("public/one", 1),
    ("public/two", 2),
    ("public/three", 3),
    ("private/one", 1),
    ("private/four", 4),
    ("private/five", 5),
];

pub(crate) struct Catalogue {
    pub(crate) registry: Registry,
    pub(crate) repositories: Vec<Repository>,
}

pub(crate) struct Repository {
    pub(crate) name: &'static str,
    pub(crate) versions: Vec<Version>,
    tag: Mutex<Moves>,
}

pub(crate) struct Version {
    pub(crate) skill: Skill,
    pub(crate) digest: Digest,
}

/// The versions that the moving tag has named.
struct Moves {
    all: Vec<usize>,
    /// Where in them the driver was started last: it may still be at work for who asked then.
    started: usize,
}

/// What a part of a volume names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selector {
    /// A version, by its tag, which stays.
    Tag(usize),
    /// A version, by its digest.
    Digest(usize),
    Moving,
}

impl Catalogue {
    pub(crate) fn new(random: &mut Random) -> Self {
        let users = [User::reader("alice", &format!("{CANARY}-alice"), &["private"])];
        let options = Options { users: users.into(), ..Options::default() };
        let registry = Registry::start(options.rule("private", Auth::Basic));
        // The same numbers for the same skill.
        let seed = random.next();
        let repositories = REPOSITORIES.map(|(name, number)| {
            let mut random = Random::new(seed ^ number as u64);
            let versions = (0..VERSIONS).map(|version| {
                let skill = skill(number, version, &mut random);
                let digest = artifacts::skillimage(&registry, name, &format!("v{version}"), &skill);
                Version { skill, digest }
            });
            let versions: Vec<_> = versions.collect();
            artifacts::skillimage(&registry, name, MOVING, &versions[0].skill);
            let tag = Mutex::new(Moves { all: vec![0], started: 0 });
            Repository { name, versions, tag }
        });
        Self { registry, repositories: repositories.into() }
    }

    /// The bytes of all files of all versions.
    pub(crate) fn bytes(&self) -> u64 {
        let versions = self.repositories.iter().flat_map(|repository| &repository.versions);
        let files = versions.flat_map(|version| version.skill.files.values());
        files.map(|file| file.content.len() as u64).sum()
    }

    /// Moves a tag, as a release does.
    pub(crate) fn release(&self, random: &mut Random) {
        let repository = &self.repositories[random.index(self.repositories.len())];
        let version = random.index(VERSIONS);
        // First, since whoever asks now may see it.
        repository.tag.lock().unwrap().all.push(version);
        let skill = &repository.versions[version].skill;
        artifacts::skillimage(&self.registry, repository.name, MOVING, skill);
    }

    /// A driver has started that has asked for nothing yet.
    pub(crate) fn driver_started(&self) {
        for repository in &self.repositories {
            let mut tag = repository.tag.lock().unwrap();
            tag.started = tag.all.len() - 1;
        }
    }

    pub(crate) fn reference(&self, repository: usize, selector: Selector) -> String {
        let repository = &self.repositories[repository];
        match selector {
            Selector::Tag(version) => {
                self.registry.reference(repository.name, &format!("v{version}"))
            }
            Selector::Digest(version) => {
                let digest = &repository.versions[version].digest;
                format!("{}/{}@{digest}", self.registry.host(), repository.name)
            }
            Selector::Moving => self.registry.reference(repository.name, MOVING),
        }
    }
}

impl Repository {
    pub(crate) fn is_private(&self) -> bool {
        self.name.starts_with("private/")
    }

    /// From where on what the tag names may be what a call that begins now gets: pulls that go on
    /// already are joined.
    pub(crate) fn began(&self) -> usize {
        self.tag.lock().unwrap().started
    }

    /// The versions that the tag has named from there on.
    pub(crate) fn named_since(&self, start: usize) -> Vec<usize> {
        self.tag.lock().unwrap().all[start..].to_vec()
    }
}

/// Of several files of several sizes, one of them executable.
fn skill(number: usize, version: usize, random: &mut Random) -> Skill {
    let name = format!("skill-{number}");
    let mut skill = Skill::new(&name, &format!("Version {version}."));
    skill = skill.file("scripts/run.sh", format!("#!/bin/sh\necho {version}\n"), 0o755);
    for file in 0..2 + random.below(6) {
        let length = 1 + random.below(12_000);
        let content: Vec<u8> = (0..length).map(|_| random.next().to_le_bytes()[0]).collect();
        skill = skill.file(&format!("references/{file}.bin"), content, 0o644);
    }
    skill
}
