//! Targets whose input is layers.
//!
//! The input's end says how to cut and treat the rest, so that the layers' bytes stay aligned
//! under mutation: for each of up to four layers a control byte and two bytes of length in blocks
//! of 512, then a last byte with the number of layers. [`frame`] makes such an input.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use skillmount::artifact::descriptor::Descriptor;
use skillmount::artifact::links::resolve_links;
use skillmount::artifact::name::Hints;
use skillmount::artifact::path::TreePath;
use skillmount::artifact::plan::{Action, Layer};
use skillmount::artifact::skill::find;
use skillmount::artifact::tree::{Node, Tree};
use skillmount::artifact::validation::Validation;
use skillmount::reference::Digest;
use skillmount::unpack::{
    DiskSink, Limits, MemorySink, Placement, Sink, UnpackError, Unpacked, Unpacker, materialise,
    materialise_raw,
};

use super::texts::{chain, is_name};

const BLOCK: usize = 512;
const MOST: usize = 4;

/// How the bytes of a layer become its blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As they are: the input may hold compressed bytes itself.
    Raw,
    Gzip,
    Zstd,
    /// As they are, and the descriptor is of other bytes.
    Wrong,
}

/// An input of layers: bytes, which action (0 to 7), packing.
pub fn frame(layers: &[(Vec<u8>, u8, Packing)]) -> Vec<u8> {
    let (mut data, mut controls) = (Vec::new(), Vec::new());
    for (bytes, action, packing) in layers {
        data.extend_from_slice(bytes);
        data.resize(data.len().next_multiple_of(BLOCK), 0);
        // Odd lengths are for the last layer, which takes the rest.
        controls.push(action | ((*packing as u8) << 3));
        let blocks = u16::try_from(bytes.len().div_ceil(BLOCK)).expect("a small layer");
        controls.extend_from_slice(&blocks.to_le_bytes());
    }
    data.extend(controls);
    data.push(u8::try_from(layers.len() - 1).expect("few layers"));
    data
}

struct Input<'a> {
    bytes: &'a [u8],
    action: u8,
    packing: Packing,
}

fn split(data: &[u8]) -> Option<(Vec<Input<'_>>, bool)> {
    let (last, data) = data.split_last()?;
    let count = usize::from(*last) % MOST + 1;
    // Checksums are mended unless the input says not to: else hardly a header would be read.
    let mend = last & 0x80 == 0;
    let (mut data, controls) = data.split_at_checked(data.len().checked_sub(3 * count)?)?;
    let mut inputs = Vec::new();
    for (index, control) in controls.chunks_exact(3).enumerate() {
        let length = usize::from(u16::from_le_bytes([control[1], control[2]])) * BLOCK;
        let (bytes, rest) = match index + 1 == count {
            true => (data, &[][..]),
            false => data.split_at(length.min(data.len())),
        };
        data = rest;
        let packing = match control[0] >> 3 & 7 {
            1 => Packing::Gzip,
            2 => Packing::Zstd,
            3 => Packing::Wrong,
            _ => Packing::Raw,
        };
        inputs.push(Input { bytes, action: control[0] & 7, packing });
    }
    Some((inputs, mend))
}

/// Makes the checksums of what looks like headers right.
fn mend(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(BLOCK) {
        if block[257..].starts_with(b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().copied().map(u32::from).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

/// Low, so that inputs reach them and iterations stay short.
fn limits() -> Limits {
    Limits {
        layers: 3,
        entries: 64,
        file_bytes: 16 << 10,
        total_bytes: 64 << 10,
        ratio: 50,
        depth: 8,
        skill_md_bytes: 16 << 10,
        zstd_window_log: 20,
    }
}

/// Layers of raw tar bytes into memory, each a tar or an image layer.
pub fn tar(data: &[u8]) {
    let Some((inputs, mends)) = split(data) else { return };
    let layers: Vec<_> = inputs
        .iter()
        .map(|input| {
            let mut bytes = input.bytes.to_vec();
            if mends {
                mend(&mut bytes);
            }
            let action = match input.action & 1 {
                0 => Action::Tar { under: TreePath::root() },
                _ => Action::ImageLayer,
            };
            blob(action, bytes)
        })
        .collect();
    match run(MemorySink::new(&limits()), &layers) {
        Ok(unpacked) => bounded(&unpacked.tree),
        Err(error) => drop(chain(&error)),
    }
}

/// Layers through everything: decompression, unpacking to memory and to disk, finding skills,
/// resolving links, and putting them into place.
pub fn unpack(data: &[u8]) {
    let Some((inputs, mends)) = split(data) else { return };
    let mut wrong = false;
    let layers: Vec<_> = inputs
        .iter()
        .map(|input| {
            wrong |= input.packing == Packing::Wrong;
            pack(input, mends)
        })
        .collect();
    let bench = Bench::new();
    let on_disk = run(DiskSink::new(open(&bench.staging())), &layers);
    let in_memory = run(MemorySink::new(&limits()), &layers);
    bench.check();
    let (disk, memory) = match (on_disk, in_memory) {
        (Ok(disk), Ok(memory)) => (disk, memory),
        (Err(disk), Err(memory)) => return assert_eq!(chain(&disk), chain(&memory)),
        (disk, memory) => panic!("disk {disk:?}, memory {memory:?}"),
    };
    assert!(!wrong, "wrong bytes were taken");
    assert_eq!(disk.tree, memory.tree);
    assert_eq!(disk.warnings, memory.warnings);
    bounded(&disk.tree);
    assert_eq!(expected(&disk.tree), modes(&bench.staging()));
    place(&bench, disk, memory);
}

fn pack(input: &Input<'_>, mends: bool) -> (Layer, Vec<u8>) {
    let mut bytes = input.bytes.to_vec();
    if mends {
        mend(&mut bytes);
    }
    let content = Digest::sha256(&bytes);
    let bytes = match input.packing {
        Packing::Raw | Packing::Wrong => bytes,
        Packing::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&bytes).and_then(|()| encoder.finish()).expect("gzip into memory")
        }
        Packing::Zstd => zstd::encode_all(bytes.as_slice(), 1).expect("zstd into memory"),
    };
    let title = |text: &str| TreePath::parse(text.as_bytes()).expect("the target's own path");
    let action = match input.action {
        0 => Action::Tar { under: TreePath::root() },
        1 => Action::ImageLayer,
        2 => Action::Tar { under: title("skills/a") },
        3 => Action::Directory { title: title("code-review"), content: Some(content) },
        4 => Action::Directory { title: TreePath::root(), content: None },
        5 => Action::TitledArchive { title: title("code-review/data.tar.gz") },
        6 => Action::File { title: title("code-review/SKILL.md") },
        _ => Action::Unknown,
    };
    let (mut layer, bytes) = blob(action, bytes);
    if input.packing == Packing::Wrong {
        layer.descriptor.digest = Digest::sha256(b"something else");
    }
    (layer, bytes)
}

fn blob(action: Action, bytes: Vec<u8>) -> (Layer, Vec<u8>) {
    let descriptor = Descriptor {
        media_type: "application/octet-stream".into(),
        digest: Digest::sha256(&bytes),
        size: bytes.len() as u64,
        artifact_type: None,
        annotations: BTreeMap::new(),
        platform: None,
        data: None,
    };
    (Layer { descriptor, action, diff_id: None }, bytes)
}

fn run<S: Sink>(sink: S, layers: &[(Layer, Vec<u8>)]) -> Result<Unpacked<S>, UnpackError> {
    let mut unpacker = Unpacker::new(sink, limits());
    for (layer, bytes) in layers {
        unpacker.layer(layer, &mut bytes.as_slice())?;
    }
    Ok(unpacker.finish())
}

/// What was unpacked keeps the limits.
fn bounded(tree: &Tree) {
    let limits = limits();
    let nodes = tree.walk(&TreePath::root());
    assert!(nodes.len() <= limits.entries as usize);
    let mut total = 0;
    for (path, node) in nodes {
        assert!(path.depth() <= limits.depth as usize);
        assert_eq!(TreePath::parse(path.to_string().as_bytes()).as_ref(), Ok(&path));
        if let Node::File(file) = node {
            assert!(file.size <= limits.file_bytes);
            total += file.size;
        }
    }
    // Hard links are names, not bytes.
    assert!(total <= limits.total_bytes + u64::from(limits.entries) * limits.file_bytes);
}

/// Finds the skills from both sinks, and makes the volume's directories of the one on disk.
fn place(bench: &Bench, mut disk: Unpacked<DiskSink>, mut memory: Unpacked<MemorySink>) {
    let hints = Hints { fallback: "fallback".into(), ..Hints::default() };
    for validation in [Validation::None, Validation::Strict] {
        let from_disk = find(&disk.tree, &mut disk.sink, &hints, validation);
        let from_memory = find(&memory.tree, &mut memory.sink, &hints, validation);
        match (from_disk, from_memory) {
            (Ok(disk), Ok(memory)) => assert_eq!(disk, memory),
            (Err(disk), Err(memory)) => assert_eq!(chain(&disk), chain(&memory)),
            (disk, memory) => panic!("disk {disk:?}, memory {memory:?}"),
        }
    }
    let out = open(&bench.out());
    match find(&disk.tree, &mut disk.sink, &hints, Validation::Lenient) {
        Ok(layout) => {
            let placements: Vec<_> = layout
                .skills
                .iter()
                .map(|skill| Placement {
                    root: skill.root.clone(),
                    name: skill.name.clone(),
                    skill_md: skill.skill_md.clone(),
                    links: resolve_links(&disk.tree, &skill.root).expect("find resolved them"),
                })
                .collect();
            materialise(&mut disk.sink, &disk.tree, &placements, out.as_fd())
                .unwrap_or_else(|error| panic!("cannot place: {}", chain(&error)));
            for (slot, skill) in layout.skills.iter().enumerate() {
                assert!(is_name(&skill.name), "{:?}", skill.name);
                let root = bench.out().join(slot.to_string()).join(&skill.name);
                assert!(root.join("SKILL.md").is_file());
                let files: Vec<_> =
                    modes(&root).into_iter().filter(|(_, mode)| !mode.starts_with('d')).collect();
                assert_eq!(files.len() as u64, skill.files, "{files:?}");
            }
        }
        Err(error) => {
            drop(chain(&error));
            // Not a skill; a volume of layout raw shows it all the same.
            if let Ok(links) = resolve_links(&disk.tree, &TreePath::root()) {
                materialise_raw(&mut disk.sink, &disk.tree, &links, out.as_fd())
                    .unwrap_or_else(|error| panic!("cannot place: {}", chain(&error)));
                let mut wanted = expected(&disk.tree);
                for (link, file) in links {
                    let mode = wanted[&file.to_string()].clone();
                    wanted.insert(link.to_string(), mode);
                }
                assert_eq!(modes(&bench.out().join("root")), wanted);
            }
        }
    }
    bench.check();
}

/// What must be on disk: links are nowhere.
fn expected(tree: &Tree) -> BTreeMap<String, String> {
    let line = |(path, node): (TreePath, &Node)| match node {
        Node::Dir(_) => Some((path.to_string(), "d755".to_owned())),
        Node::File(file) => {
            let mode = if file.executable { 755 } else { 644 };
            Some((path.to_string(), format!("-{mode} {}", file.size)))
        }
        Node::Symlink(_) => None,
    };
    tree.walk(&TreePath::root()).into_iter().filter_map(line).collect()
}

/// What is on disk: each path's type, mode and, of a file, length. Only directories and regular
/// files are there, without setuid and the like.
fn modes(root: &Path) -> BTreeMap<String, String> {
    fn visit(root: &Path, at: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(at).expect("a readable directory") {
            let path = entry.expect("an entry").path();
            let status = fs::symlink_metadata(&path).expect("its status");
            let mode = status.permissions().mode() & 0o7777;
            let text = match status.file_type() {
                kind if kind.is_dir() => format!("d{mode:o}"),
                kind if kind.is_file() => format!("-{mode:o} {}", status.size()),
                kind => panic!("{} is {kind:?}", path.display()),
            };
            let relative = path.strip_prefix(root).expect("below the root");
            found.insert(relative.to_str().expect("UTF-8").to_owned(), text);
            if status.is_dir() {
                visit(root, &path, found);
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(root, root, &mut found);
    found
}

/// A staging directory deep enough that what climbs out of it is still seen.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().expect("a temporary directory") };
        fs::create_dir_all(bench.staging()).expect("staging");
        fs::create_dir(bench.out()).expect("out");
        fs::write(bench.dir.path().join("a/witness"), "untouched").expect("witness");
        bench
    }

    fn staging(&self) -> std::path::PathBuf {
        self.dir.path().join("a/b/staging")
    }

    fn out(&self) -> std::path::PathBuf {
        self.dir.path().join("a/b/out")
    }

    /// Nothing is outside of the two directories, and nothing in them but directories and files.
    fn check(&self) {
        let found = modes(self.dir.path());
        let outside: Vec<_> = found
            .keys()
            .filter(|path| !path.starts_with("a/b/staging/") && !path.starts_with("a/b/out/"))
            .collect();
        assert_eq!(outside, ["a", "a/b", "a/b/out", "a/b/staging", "a/witness"]);
        let witness = fs::read(self.dir.path().join("a/witness")).expect("witness");
        assert_eq!(witness, b"untouched");
    }
}

fn open(path: &Path) -> OwnedFd {
    let file: io::Result<fs::File> = fs::File::open(path);
    file.expect("a directory").into()
}
