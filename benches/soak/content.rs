//! What the registry holds: skills that stay, and one that is always another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::driver::Volume;
use crate::support::{Auth, Options, Registry, Skill, User, artifacts};

/// How many skills stay.
const STABLE: u64 = 12;
/// Repositories whose tag moves.
const MOVING: u64 = 12;
/// How many versions of a moving tag the registry keeps.
const KEPT: usize = 3;
/// The password of all users.
const PASSWORD: &str = "CANARY-soak";
/// How many users there are: what fails for one is not tried again for a while, but for another.
const USERS: u64 = 60;

/// Public, but for what is below `private`.
pub(crate) fn options() -> Options {
    let users = (0..USERS).map(|number| User::new(&user(number), PASSWORD)).collect();
    Options { users, ..Options::default() }.rule("private", Auth::Basic)
}

/// All skills.
pub(crate) struct Content {
    registry: Arc<Registry>,
    version: AtomicU64,
    /// Repository and digest of what a tag was moved from, oldest first.
    old: Mutex<Vec<(String, String)>>,
}

/// The bytes of the file that tells a version from another; of a size of its own.
fn data(version: u64) -> Vec<u8> {
    let size = 4_096 + (version.wrapping_mul(7_919) % 120_000) as usize;
    let mut state = version.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = version.to_le_bytes().to_vec();
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

/// Whether a `data` file is one that was pushed, from its first byte to its last.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let version = bytes.first_chunk().map(|first| u64::from_le_bytes(*first));
    version.is_some_and(|version| data(version) == bytes)
}

fn skill(name: &str, version: u64) -> Skill {
    let mut skill =
        Skill::new(name, "Is pulled again and again.").file("data", data(version), 0o644);
    for number in 0..version % 8 {
        skill = skill.file(&format!("references/{number}.md"), format!("{number}\n"), 0o644);
    }
    skill
}

impl Content {
    pub(crate) fn new(registry: &Arc<Registry>) -> Self {
        let content =
            Self { registry: registry.clone(), version: AtomicU64::new(1), old: Mutex::default() };
        for number in 0..STABLE {
            content.push(&stable(number));
        }
        for number in 0..MOVING {
            content.push(&moving(number));
        }
        content
    }

    /// Moves a tag to a new version; what the registry had before goes a little later.
    pub(crate) fn move_tag(&self, number: u64) {
        let repository = moving(number % MOVING);
        let mut old = self.old.lock().unwrap();
        old.push((repository.clone(), self.push(&repository)));
        if old.len() > KEPT * MOVING as usize {
            let (repository, digest) = old.remove(0);
            let layers = self.registry.layers(&repository, &digest);
            self.registry.remove_manifest(&repository, &digest);
            layers.iter().for_each(|layer| self.registry.remove_blob(layer));
        }
    }

    fn push(&self, repository: &str) -> String {
        let version = self.version.fetch_add(1, Ordering::Relaxed);
        let name = repository.rsplit('/').next().unwrap();
        let skill = skill(name, version);
        artifacts::skillimage(&self.registry, repository, "v1", &skill).to_string()
    }

    /// What a pod may ask for: `choice` is anything.
    pub(crate) fn volume(&self, root: &std::path::Path, id: &str, choice: u64) -> Volume {
        let reference = |repository: &str| self.registry.reference(repository, "v1");
        let number = choice / 16;
        match choice % 16 {
            0..5 => Volume::new(root, id, &reference(&moving(number % MOVING)))
                .attribute("pullPolicy", "Always"),
            5 => {
                let [one, two] = [0, 1].map(|next| reference(&stable((number + next) % STABLE)));
                Volume::new(root, id, &format!("{one} {two}"))
            }
            6 => Volume::new(root, id, &reference("team/never-was")),
            choice => {
                let volume = Volume::new(root, id, &reference(&stable(number % STABLE)));
                if choice < 9 { volume.attribute("seal", "bind") } else { volume }
            }
        }
        .secret(&self.registry.host(), &user(number / MOVING), PASSWORD)
    }
}

fn user(number: u64) -> String {
    format!("agent-{}", number % USERS)
}

/// Every third is for those who log in.
fn stable(number: u64) -> String {
    let place = if number.is_multiple_of(3) { "private" } else { "team" };
    format!("{place}/stays-{number}")
}

fn moving(number: u64) -> String {
    format!("team/moves-{number}")
}
