//! Archives made by hand, and two sinks to unpack them into.

use std::io::{self, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::artifact::contents::Contents;
use crate::artifact::descriptor::Descriptor;
use crate::artifact::path::TreePath;
use crate::artifact::plan::{Action, Layer};
use crate::artifact::tree::{Node, Tree};
use crate::reference::Digest;
use crate::unpack::{DiskSink, Limits, MemorySink, Problem, Sink, UnpackError, Unpacked, Unpacker};

pub(super) const MTIME: u64 = 1_700_000_000;

pub(super) fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

pub(super) fn tar_layer() -> Action {
    Action::Tar { under: TreePath::root() }
}

/// A tar archive under construction.
#[derive(Clone, Default)]
pub(super) struct Tar(pub(super) Vec<u8>);

pub(super) struct Header<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: u8,
    pub(super) mode: u32,
    pub(super) target: &'a [u8],
    pub(super) size: u64,
    pub(super) magic: &'a [u8],
    pub(super) mtime: u64,
}

impl Default for Header<'_> {
    fn default() -> Self {
        Self {
            name: b"",
            kind: b'0',
            mode: 0o644,
            target: b"",
            size: 0,
            magic: b"ustar\x0000",
            mtime: MTIME,
        }
    }
}

impl Tar {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn header(mut self, header: &Header<'_>) -> Self {
        let mut block = [0u8; 512];
        block[..header.name.len()].copy_from_slice(header.name);
        block[100..108].copy_from_slice(format!("{:07o}\0", header.mode).as_bytes());
        block[108..116].copy_from_slice(format!("{:07o}\0", 12345).as_bytes());
        block[116..124].copy_from_slice(format!("{:07o}\0", 12345).as_bytes());
        block[124..136].copy_from_slice(format!("{:011o}\0", header.size).as_bytes());
        block[136..148].copy_from_slice(format!("{:011o}\0", header.mtime).as_bytes());
        block[148..156].fill(b' ');
        block[156] = header.kind;
        block[157..157 + header.target.len()].copy_from_slice(header.target);
        block[257..257 + header.magic.len()].copy_from_slice(header.magic);
        let sum: u32 = block.iter().copied().map(u32::from).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self
    }

    pub(super) fn body(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn mode(self, name: &str, mode: u32, content: &str) -> Self {
        let size = content.len() as u64;
        self.header(&Header { name: name.as_bytes(), mode, size, ..Header::default() })
            .body(content.as_bytes())
    }

    pub(super) fn file(self, name: &str, content: &str) -> Self {
        self.mode(name, 0o644, content)
    }

    pub(super) fn kind(self, name: &str, kind: u8, target: &str) -> Self {
        let (name, target) = (name.as_bytes(), target.as_bytes());
        self.header(&Header { name, kind, target, mode: 0o755, ..Header::default() })
    }

    pub(super) fn dir(self, name: &str) -> Self {
        self.kind(name, b'5', "")
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        self.kind(name, b'2', target)
    }

    pub(super) fn link(self, name: &str, target: &str) -> Self {
        self.kind(name, b'1', target)
    }

    /// A PAX or GNU header before the next entry.
    pub(super) fn extension(self, kind: u8, content: &[u8]) -> Self {
        let magic: &[u8] = if kind.is_ascii_lowercase() { b"ustar\x0000" } else { b"ustar  \0" };
        let size = content.len() as u64;
        self.header(&Header { name: b"ext", kind, size, magic, ..Header::default() }).body(content)
    }

    pub(super) fn pax(self, key: &str, value: &[u8]) -> Self {
        self.extension(b'x', &pax(key, value))
    }

    /// The end marker.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

pub(super) fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A layer that is what its descriptor says.
pub(super) fn layer(action: &Action, bytes: &[u8]) -> Layer {
    let descriptor = Descriptor {
        media_type: "application/x-test".into(),
        digest: Digest::sha256(bytes),
        size: bytes.len() as u64,
        artifact_type: None,
        annotations: Default::default(),
        platform: None,
        data: None,
    };
    Layer { descriptor, action: action.clone(), diff_id: None }
}

/// Hands out few bytes at a time, as sockets do.
pub(super) struct Slow<'a>(pub(super) &'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(1_009);
        self.0.read(&mut buffer[..most])
    }
}

pub(super) type Layers = Vec<(Action, Vec<u8>)>;

pub(super) fn unpack_into<S: Sink>(
    sink: S,
    limits: &Limits,
    layers: &Layers,
) -> Result<Unpacked<S>, UnpackError> {
    let mut unpacker = Unpacker::new(sink, *limits);
    for (action, bytes) in layers {
        unpacker.layer(&layer(action, bytes), &mut BufReader::new(Slow(bytes)))?;
    }
    Ok(unpacker.finish())
}

pub(super) fn open(directory: &Path) -> OwnedFd {
    std::fs::File::open(directory).unwrap().into()
}

/// A directory with a staging directory in it and a file beside it that must survive.
pub(super) struct Bench {
    pub(super) directory: tempfile::TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("staging")).unwrap();
        std::fs::create_dir(directory.path().join("out")).unwrap();
        std::fs::write(directory.path().join("outside"), "outside").unwrap();
        Self { directory }
    }

    pub(super) fn staging(&self) -> std::path::PathBuf {
        self.directory.path().join("staging")
    }

    pub(super) fn out(&self) -> std::path::PathBuf {
        self.directory.path().join("out")
    }

    pub(super) fn sink(&self) -> DiskSink {
        DiskSink::new(open(&self.staging()))
    }

    pub(super) fn assert_untouched(&self) {
        let mut names: Vec<_> = std::fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["out", "outside", "staging"]);
        assert_eq!(std::fs::read(self.directory.path().join("outside")).unwrap(), b"outside");
        assert_eq!(std::fs::metadata(self.directory.path().join("outside")).unwrap().nlink(), 1);
    }
}

/// Each path below a directory: `d755 a/`, `f644 a/b content`.
pub(super) fn listing(root: &Path) -> Vec<String> {
    fn visit(root: &Path, at: &Path, out: &mut Vec<String>) {
        let mut entries: Vec<_> =
            std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in entries {
            let metadata = std::fs::symlink_metadata(&entry).unwrap();
            let name = entry.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let mode = metadata.permissions().mode() & 0o7777;
            if metadata.is_dir() {
                out.push(format!("d{mode:o} {name}/"));
                visit(root, &entry, out);
            } else if metadata.is_file() {
                let content = String::from_utf8_lossy(&std::fs::read(&entry).unwrap()).into_owned();
                out.push(format!("f{mode:o} {name} {content}"));
            } else {
                out.push(format!("?{mode:o} {name}"));
            }
        }
    }
    let mut out = Vec::new();
    visit(root, root, &mut out);
    out
}

/// The same from a tree, and the symbolic links that are nowhere else: `l a -> b`.
pub(super) fn tree_listing(tree: &Tree) -> (Vec<(String, u64)>, Vec<String>) {
    let (mut made, mut links) = (Vec::new(), Vec::new());
    for (path, node) in tree.walk(&TreePath::root()) {
        match node {
            Node::Dir(_) => made.push((format!("d755 {path}/"), 0)),
            Node::File(file) => {
                let mode = if file.executable { 755 } else { 644 };
                made.push((format!("f{mode} {path}"), file.size));
            }
            Node::Symlink(link) => links.push(format!("l {path} -> {}", link.target)),
        }
    }
    (made, links)
}

/// Unpacks into both sinks and expects the same listing from the disk and from both trees.
pub(super) fn expect(id: &str, layers: &Layers, expected: &[&str], links: &[&str]) -> Vec<String> {
    let limits = Limits::default();
    let bench = Bench::new();
    let on_disk = unpack_into(bench.sink(), &limits, layers)
        .unwrap_or_else(|error| panic!("{id}: {}", chain(&error)));
    bench.assert_untouched();
    let mut sorted: Vec<String> = expected.iter().map(|&line| line.into()).collect();
    let mut actual = listing(&bench.staging());
    sorted.sort();
    actual.sort();
    assert_eq!(actual, sorted, "{id}");
    let mut in_memory = unpack_into(MemorySink::new(&limits), &limits, layers).unwrap();
    assert_eq!(in_memory.tree, on_disk.tree, "{id}");
    assert_eq!(in_memory.warnings, on_disk.warnings, "{id}");
    let (made, in_tree) = tree_listing(&on_disk.tree);
    assert_eq!(in_tree, links, "{id}");
    assert_eq!(made.len(), expected.len(), "{id}");
    for (line, size) in made {
        let Some(name) = line.strip_prefix('f') else {
            assert!(expected.contains(&line.as_str()), "{id}: {line}");
            continue;
        };
        let content = expected
            .iter()
            .find_map(|have| have.strip_prefix(&format!("f{name} ")))
            .unwrap_or_else(|| panic!("{id}: {line}"));
        assert_eq!(size, content.len() as u64, "{id}: {line}");
        if name.ends_with("SKILL.md") {
            let name = path(name.split_once(' ').unwrap().1);
            let bytes = in_memory.sink.read(&name, 1 << 20).unwrap();
            assert_eq!(bytes, content.as_bytes(), "{id}");
        }
    }
    on_disk.warnings
}

pub(super) fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// Expects both sinks to refuse the layers with the same message; returns the problem.
pub(super) fn refuse(id: &str, layers: &Layers, limits: &Limits) -> Problem {
    let bench = Bench::new();
    let Err(error) = unpack_into(bench.sink(), limits, layers) else {
        panic!("{id}: unpacked to {:#?}", listing(&bench.staging()))
    };
    bench.assert_untouched();
    let text = chain(&error);
    assert!(!text.chars().any(char::is_control), "{id}: {text:?}");
    let other = unpack_into(MemorySink::new(limits), limits, layers).unwrap_err();
    assert_eq!(chain(&other), text, "{id}");
    error.problem
}
