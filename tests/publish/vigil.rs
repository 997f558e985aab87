//! What every test of this binary asserts beside its own matter: that no secret it used is in a
//! log, however loud, in a file of a state directory or in an answer. Every password and token of
//! these tests has [`MARK`] in it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// What all secrets of the tests begin with, or contain.
const MARK: &str = "CANARY-";

/// The libraries that see secrets, as loud as they get.
const LOUD: &str =
    "skillmount=trace,reqwest=trace,hyper=trace,hyper_util=trace,h2=trace,rustls=trace,kube=trace";

/// [`MARK`] as it is, and in base64 at each of the three places where it can begin in a group.
fn marks() -> Vec<String> {
    let encoded = (0..3).map(|before| {
        let text = STANDARD.encode(format!("{}{MARK}", "-".repeat(before)));
        // The first and the last group also hold bits of what is beside it.
        let first = if before == 0 { 0 } else { 4 };
        text[first..text.trim_end_matches('=').len() - 1].trim_end_matches('=').to_owned()
    });
    std::iter::once(MARK.to_owned()).chain(encoded).collect()
}

/// The marks that are in some bytes.
fn found(bytes: &[u8], marks: &[String]) -> Vec<String> {
    let is_in = |mark: &&String| bytes.windows(mark.len()).any(|part| part == mark.as_bytes());
    marks.iter().filter(is_in).cloned().collect()
}

/// Reads the log of this process, line by line, and keeps the lines that hold a secret.
#[derive(Clone)]
pub(crate) struct Vigil {
    marks: Arc<Vec<String>>,
    betrayals: Arc<Mutex<Vec<String>>>,
}

impl Vigil {
    /// Begins to read what the drivers in this process log.
    pub(crate) fn begin() -> Self {
        let (marks, betrayals) = (Arc::new(marks()), Arc::default());
        let vigil = Self { marks, betrayals };
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(LOUD))
            .with_ansi(false)
            .with_writer(vigil.clone())
            .init();
        vigil
    }

    /// Nothing that was logged, and nothing in a state directory below `root`, holds a secret.
    pub(crate) fn end(&self, root: &Path) {
        let betrayals = self.betrayals.lock().unwrap().clone();
        assert!(betrayals.is_empty(), "a secret is logged:\n{}", betrayals.join(""));
        for directory in state_directories(root) {
            self.search(&directory);
        }
    }

    /// No file below a directory holds a secret, and none is named like one.
    pub(crate) fn search(&self, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(found(path.as_os_str().as_encoded_bytes(), &self.marks), [""; 0]);
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                self.search(&path);
            } else if path.is_file() {
                let found = found(&fs::read(&path).unwrap(), &self.marks);
                assert_eq!(found, [""; 0], "{}", path.display());
            }
        }
    }
}

impl io::Write for Vigil {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !found(line, &self.marks).is_empty() {
            self.betrayals.lock().unwrap().push(String::from_utf8_lossy(line).into_owned());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Vigil {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The state directories below a directory: not what a test itself wrote for a driver to read.
fn state_directories(root: &Path) -> Vec<std::path::PathBuf> {
    let mut all = vec![];
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name == "state") {
            all.push(path);
        } else if path.is_dir() && !path.is_symlink() && !path.ends_with("pods") {
            all.extend(state_directories(&path));
        }
    }
    all
}

#[test]
fn a_secret_is_found_wherever_it_is() {
    let marks = marks();
    for before in ["", "a", "ab", "abc", "agent:"] {
        let text = STANDARD.encode(format!("{before}CANARY-horse-battery"));
        assert_eq!(found(text.as_bytes(), &marks).len(), 1, "{before:?} {text}");
    }
    assert_eq!(found(b"Bearer CANARY-token-1", &marks), [MARK]);
    assert_eq!(found(b"canary, Q0FOQVJ", &marks), [""; 0]);
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("a/state/volumes")).unwrap();
    fs::write(root.path().join("a/state/volumes/x.json"), "CANARY-1").unwrap();
    assert_eq!(state_directories(root.path()), [root.path().join("a/state")]);
    let (marks, betrayals) = (Arc::new(marks), Arc::default());
    let vigil = Vigil { marks, betrayals };
    let ended = std::panic::catch_unwind(|| vigil.end(root.path()));
    assert!(ended.is_err(), "a secret in a state directory is not found");
    fs::remove_file(root.path().join("a/state/volumes/x.json")).unwrap();
    let mut log = vigil.clone();
    io::Write::write_all(&mut log, b"a line without any\n").unwrap();
    vigil.end(root.path());
    io::Write::write_all(&mut log, b"token=CANARY-token-1\n").unwrap();
    let ended = std::panic::catch_unwind(|| vigil.end(root.path()));
    assert!(ended.is_err(), "a secret in the log is not found");
}
