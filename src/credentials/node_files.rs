//! Files of the node with logins that every pod may use.
//!
//! As kubelet does with its `config.json`, the files are read anew for each volume: whoever
//! rotates a login need restart nothing, no login stays in memory, and nothing depends on what a
//! file system says about the time of a change. They are small and on the node's disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};

use super::{Consulted, Keyring, MAX_DOCUMENT, SecretError};

/// Docker configuration files, in the order in which their logins are tried.
#[derive(Debug, Default)]
pub struct NodeFiles {
    files: Vec<PathBuf>,
    /// What was last logged of each.
    told: Mutex<Vec<Told>>,
}

/// What there is to say about a file. Without secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    keys: Vec<String>,
    warnings: Vec<String>,
}

/// Why a file is passed over.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("it is not a regular file")]
    Kind,
    #[error(transparent)]
    Content(#[from] SecretError),
}

impl NodeFiles {
    /// The files with these paths, which need not exist yet.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let told = Mutex::new(vec![Told::default(); files.len()]);
        Self { files, told }
    }

    /// The logins as the files have them now. A file that cannot be used is passed over, since
    /// pods with logins of their own do not need it; that is logged when it changes. Reads from
    /// disk.
    pub fn keyring(&self) -> Keyring {
        let mut all = Keyring::default();
        for (index, path) in self.files.iter().enumerate() {
            let origin = format!("node file {path:?}");
            let (mut keyring, problem) = match read(path, &origin) {
                Ok(keyring) => (keyring, None),
                Err(problem) => (Keyring::default(), Some(problem.to_string())),
            };
            if let Some(problem) = &problem {
                keyring.note(Consulted::nothing(origin, problem));
            }
            let warnings = keyring.warnings().iter().cloned().chain(problem).collect();
            self.tell(index, Told { keys: keyring.keys(), warnings });
            all.extend(keyring);
        }
        all
    }

    /// Logs what is new.
    fn tell(&self, index: usize, now: Told) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(before), Some(path)) = (told.get_mut(index), self.files.get(index)) else {
            return;
        };
        if *before == now {
            return;
        }
        let file = path.display();
        for warning in &now.warnings {
            tracing::warn!(%file, warning, "node credentials");
        }
        tracing::info!(%file, registries = ?now.keys, "node credentials");
        *before = now;
    }
}

fn read(path: &PathBuf, origin: &str) -> Result<Keyring, Problem> {
    // Without waiting: a pipe nobody writes to would hold all volumes up.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
    let file = File::from(file);
    if !file.metadata()?.is_file() {
        return Err(Problem::Kind);
    }
    let mut bytes = Vec::new();
    // One more than allowed, which the parser refuses.
    file.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Keyring::from_docker_config(&bytes, origin)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::reference::Reference;

    fn config(registry: &str, user: &str) -> String {
        format!(r#"{{"auths":{{"{registry}":{{"username":"{user}","password":"CANARY"}}}}}}"#)
    }

    fn origins(files: &NodeFiles, reference: &str) -> Vec<String> {
        let reference: Reference = reference.parse().unwrap();
        let found = files.keyring().matching(reference.repository());
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn files_are_tried_in_their_order_and_read_anew() {
        let scratch = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| scratch.path().join(name));
        let files = NodeFiles::new(vec![first.clone(), second.clone()]);
        assert!(files.keyring().is_empty());
        fs::write(&second, config("*.io", "b")).unwrap();
        fs::write(&first, config("r.io", "a")).unwrap();
        let of = |path: &PathBuf, key: &str| format!("node file {path:?}, entry {key:?}");
        let both = [of(&first, "r.io"), of(&second, "*.io")];
        assert_eq!(origins(&files, "r.io/skill"), both);
        assert_eq!(origins(&files, "x.io/skill"), both[1..]);
        // The same size and, for all that is known, the same time.
        fs::write(&first, config("s.io", "a")).unwrap();
        assert_eq!(origins(&files, "r.io/skill"), both[1..]);
        fs::remove_file(&second).unwrap();
        assert_eq!(origins(&files, "r.io/skill"), [""; 0]);
        assert_eq!(origins(&files, "s.io/skill"), [of(&first, "s.io")]);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_passed_over() {
        let scratch = tempfile::tempdir().unwrap();
        let good = scratch.path().join("good");
        fs::write(&good, config("r.io", "a")).unwrap();
        let named = |name: &str, content: &[u8]| {
            let path = scratch.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let pipe = scratch.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let bad = [
            (scratch.path().join("absent"), "cannot be read: No such file"),
            (scratch.path().to_owned(), "not a regular file"),
            (pipe, "not a regular file"),
            (named("json", b"{\"auths\": CANARY"), "is not valid JSON"),
            (named("large", &vec![b' '; MAX_DOCUMENT + 1]), "more than"),
            (named("helper", br#"{"credsStore":"CANARY"}"#), "are never run"),
        ];
        for (path, expected) in bad {
            let files = NodeFiles::new(vec![path.clone(), good.clone()]);
            assert_eq!(origins(&files, "r.io/skill").len(), 1, "{expected}");
            let told = files.told.lock().unwrap().clone();
            let warning = told[0].warnings.join("; ");
            assert!(warning.contains(expected) && !warning.contains("CANARY"), "{warning}");
            assert_eq!(told[1].warnings, [""; 0]);
        }
    }
}
