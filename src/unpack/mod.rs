//! Bytes in, files out: applies an artifact's layers to a tree in memory and a sink that holds
//! the contents. The bytes are a stranger's: each is counted, hashed and, until the digest of
//! the whole layer is known, believed for nothing but a private directory.
//!
//! Two things keep a file from landing elsewhere: the tree knows each path that was made and
//! refuses what leads through a link, and the disk sink resolves each component by itself.

mod ahead;
mod disk;
mod error;
mod layer;
mod limits;
mod materialise;
mod memory;
mod sink;
mod state;
mod stream;
mod tar;
#[cfg(test)]
mod tests;
mod whiteout;

use std::io::{self, BufRead, Read};
use std::thread;

use unicode_normalization::UnicodeNormalization;

use crate::artifact::path::TreePath;
use crate::artifact::plan::{Action, Layer as PlannedLayer};
use crate::artifact::tree::{Dir, Node, Tree};
use crate::reference::Digest;

use ahead::{Ahead, Buffered};
use layer::{Layer, Place};
use state::State;
use stream::{Decompressed, buffered, decoder, decompress, from_stream, head, metered};
use tar::{Archive, is_tar};

pub use disk::DiskSink;
pub use error::{Problem, UnpackError};
pub use limits::{Exceeded, Limit, Limits, RATIO_FLOOR};
pub use materialise::{MaterialiseError, Placement, materialise, materialise_raw};
pub use memory::MemorySink;
pub use sink::Sink;
use stream::Blob;

/// What is looked at to tell a tar from a file: a whole zstd block (128 KiB at most) with room
/// for headers, so that the first decompressed bytes are among it.
const SNIFF: u64 = 192 << 10;
/// More warnings about names than this help nobody.
const MAX_NAME_WARNINGS: usize = 10;
const SKILL_MD: &[u8] = b"SKILL.md";
/// Who says what the decompressed bytes are.
const CONTENT_DIGEST: &str = "annotation io.deis.oras.content.digest";
const DIFF_ID: &str = "the image's config (rootfs.diff_ids)";

/// Unpacks the layers of one artifact.
#[derive(Debug)]
pub struct Unpacker<S> {
    state: State<S>,
    layers: u32,
    /// The last layer's unit, and whether it was an image layer.
    unit: Option<(usize, bool)>,
    /// Decompressed bytes of all layers.
    streamed: u64,
    /// Layers of this size, in bytes, are hashed, inflated and written in threads of their own.
    staged: u64,
}

/// From this size on, in bytes, a layer is worth two threads. The tests of this module use them
/// always, those in `tests/formats` for the few that are large.
const STAGED: u64 = if cfg!(test) { 1 } else { 1 << 20 };

/// An unpacked artifact.
#[derive(Debug)]
pub struct Unpacked<S> {
    /// What is where. The layer numbers count sources that replace each other: all layers of an
    /// artifact that is no container image are one.
    pub tree: Tree,
    /// The contents.
    pub sink: S,
    /// What is odd, for people. A strict validation makes them errors.
    pub warnings: Vec<String>,
}

impl<S: Sink> Unpacker<S> {
    /// Starts with an empty tree.
    pub fn new(sink: S, limits: Limits) -> Self {
        let tree = Tree::default();
        let state = State { tree, sink, limits, entries: 0, bytes: 0, warnings: Vec::new() };
        Self { state, layers: 0, unit: None, streamed: 0, staged: STAGED }
    }

    /// Applies the next layer, lowest first. `blob` is the layer as the registry sends it; its
    /// size and digest are verified to the last byte before this is Ok. After an error the tree
    /// is in pieces, and the unpacker must be dropped.
    ///
    /// A large layer is read ahead of what is written: an error then waits for `blob` to give its
    /// next bytes, or to fail.
    pub fn layer(
        &mut self,
        layer: &PlannedLayer,
        blob: &mut (dyn BufRead + Send),
    ) -> Result<(), UnpackError> {
        let fail = |problem| UnpackError { layer: layer.descriptor.digest.clone(), problem };
        let most = self.state.limits.layers;
        if self.layers >= most {
            let value = u64::from(most);
            let exceeded = Exceeded { limit: Limit::Layers, value, at: None };
            return Err(fail(Problem::Limit(exceeded)));
        }
        self.layers += 1;
        // A compressed layer is never worth being larger than what may come out of it.
        let cap = self.state.limits.stream_bytes();
        if layer.descriptor.size > cap {
            let exceeded = Exceeded { limit: Limit::StreamBytes, value: cap, at: None };
            return Err(fail(Problem::Limit(exceeded)));
        }
        let mut blob = Blob::new(blob, &layer.descriptor, cap);
        let applied = match layer.descriptor.size >= self.staged {
            true => thread::scope(|scope| {
                let mut hashed = Ahead::start(scope, &mut blob).map_err(no_thread)?;
                self.apply(layer, &mut hashed)
            }),
            false => self.apply(layer, &mut blob),
        };
        match applied {
            Ok(()) => blob.finish().map_err(fail),
            // Wrong bytes explain whatever is wrong with them, and so does a source that fails.
            Err(problem) if problem.blames_bytes() => Err(fail(match blob.finish() {
                Ok(()) | Err(Problem::Limit(_)) => problem,
                Err(cause) => cause,
            })),
            Err(problem) => Err(fail(problem)),
        }
    }

    /// The tree as it is after the last layer.
    pub fn finish(self) -> Unpacked<S> {
        let State { tree, sink, mut warnings, .. } = self.state;
        let mut similar = Vec::new();
        similar_names(&TreePath::root(), tree.root(), &mut similar);
        warnings.append(&mut similar);
        Unpacked { tree, sink, warnings }
    }

    fn apply(
        &mut self,
        layer: &PlannedLayer,
        blob: &mut (dyn Buffered + Send),
    ) -> Result<(), Problem> {
        let root = TreePath::root();
        // A layer that does not say how large it is may be small.
        let staged = layer.descriptor.size >= self.staged;
        match &layer.action {
            Action::ImageLayer => {
                let expected = layer.diff_id.as_ref().map(|digest| (DIFF_ID, digest));
                self.untar(Vec::new(), blob, (&Place::Below(&root), true), expected, staged)
            }
            Action::Tar { under } => {
                self.untar(Vec::new(), blob, (&Place::Below(under), false), None, staged)
            }
            Action::Directory { title, content } => {
                let expected = content.as_ref().map(|digest| (CONTENT_DIGEST, digest));
                self.untar(Vec::new(), blob, (&Place::Within(title), false), expected, staged)
            }
            Action::File { title } => self.verbatim(title, layer.descriptor.size, blob),
            Action::TitledArchive { title } => {
                let head = head(blob, SNIFF)?;
                if is_tar(&self.first_block(&head)) {
                    return self.untar(head, blob, (&Place::Below(&root), false), None, staged);
                }
                self.verbatim(title, layer.descriptor.size, &mut head.as_slice().chain(blob))
            }
            Action::Unknown => {
                let head = head(blob, SNIFF)?;
                let first = self.first_block(&head);
                if is_tar(&first) {
                    let digest = layer.descriptor.digest.short();
                    let media_type = &layer.descriptor.media_type;
                    self.state.warnings.push(format!(
                        "layer {digest} has no title, and its type {media_type:?} says nothing \
                         about skills: unpacked as the tar archive that it is \
                         [skillmount: media types]"
                    ));
                    return self.untar(head, blob, (&Place::Below(&root), false), None, staged);
                }
                self.skill_md(&first, head, blob)
            }
        }
    }

    fn layer_of(&mut self, image: bool) -> Layer<'_, S> {
        let unit = match self.unit {
            None => 0,
            Some((unit, false)) if !image => unit,
            Some((unit, _)) => unit + 1,
        };
        self.unit = Some((unit, image));
        Layer::new(&mut self.state, unit, image)
    }

    fn untar(
        &mut self,
        mut head: Vec<u8>,
        blob: &mut (dyn Buffered + Send),
        (place, image): (&Place<'_>, bool),
        expected: Option<(&'static str, &Digest)>,
        staged: bool,
    ) -> Result<(), Problem> {
        if head.is_empty() {
            head = stream::head(blob, stream::MAGIC)?;
        }
        let (limits, spent) = (self.state.limits, self.streamed);
        let decoder = decoder(head, blob, &limits)?;
        match staged {
            true => thread::scope(|scope| {
                let inflated = Ahead::start(scope, decoder).map_err(no_thread)?;
                self.entries(metered(inflated, &limits, spent), (place, image), expected)
            }),
            false => {
                self.entries(metered(buffered(decoder), &limits, spent), (place, image), expected)
            }
        }
    }

    /// All entries of an archive, and the check of what came out.
    fn entries<D: Buffered>(
        &mut self,
        mut stream: Decompressed<D>,
        (place, image): (&Place<'_>, bool),
        expected: Option<(&'static str, &Digest)>,
    ) -> Result<(), Problem> {
        if let Some((_, expected)) = expected {
            stream.hash(expected.algorithm());
        }
        let mut archive = Archive::new(stream);
        self.layer_of(image).untar(&mut archive, place)?;
        archive.stream_mut().forgive_padding();
        archive.drain()?;
        let stream = archive.into_stream();
        self.streamed = self.streamed.saturating_add(stream.bytes_out());
        match (expected, stream.digest()) {
            (Some((claim, expected)), Some(actual)) if *expected != actual => {
                Err(Problem::ContentDigest { claim, expected: expected.clone(), actual })
            }
            _ => Ok(()),
        }
    }

    fn verbatim(
        &mut self,
        title: &TreePath,
        size: u64,
        blob: &mut dyn BufRead,
    ) -> Result<(), Problem> {
        // What the manifest says suffices to refuse a file before it is written.
        self.state.check_size(title, size)?;
        let first = head(blob, 2)?;
        let executable = first == *b"#!";
        self.layer_of(false).single(title, executable, &mut first.as_slice().chain(blob))
    }

    /// A layer of unknown type that is no tar: a SKILL.md, or nothing that can be used.
    fn skill_md(
        &mut self,
        first: &[u8],
        head: Vec<u8>,
        blob: &mut dyn Buffered,
    ) -> Result<(), Problem> {
        let most = self.state.limits.skill_md_bytes;
        let unusable = || Problem::Unknown(looks_like(first));
        if !first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).starts_with(b"---") {
            return Err(match stream::unsupported(&head) {
                Some(name) => Problem::Compression(name),
                None => unusable(),
            });
        }
        let stream = decompress(head, blob, &self.state.limits, self.streamed)?;
        let mut text = Vec::new();
        stream.take(most.saturating_add(1)).read_to_end(&mut text).map_err(from_stream)?;
        if text.len() as u64 > most {
            let reason = format!("it begins like a SKILL.md, but has more than {most} bytes");
            return Err(Problem::Unknown(reason));
        }
        if std::str::from_utf8(&text).is_err() {
            return Err(Problem::Unknown("it begins like a SKILL.md, but is not UTF-8".into()));
        }
        self.streamed = self.streamed.saturating_add(text.len() as u64);
        let path = TreePath::parse(SKILL_MD).map_err(|source| Problem::Name { source })?;
        self.layer_of(false).single(&path, false, &mut text.as_slice())
    }

    /// The first decompressed bytes of a layer, 512 if it has as many. Errors are left for those
    /// who need more.
    fn first_block(&self, head: &[u8]) -> Vec<u8> {
        let mut block = vec![0; 512];
        let mut filled = 0;
        if let Ok(mut stream) = decompress(head.to_vec(), io::empty(), &self.state.limits, 0) {
            while let Ok(count @ 1..) = stream.read(&mut block[filled..]) {
                filled += count;
            }
        }
        block.truncate(filled);
        block
    }
}

fn no_thread(source: io::Error) -> Problem {
    Problem::Read { source }
}

/// Tells what bytes look like, for the reader of an error.
fn looks_like(first: &[u8]) -> String {
    const MAGICS: &[(&[u8], &str)] = &[
        (b"PK\x03\x04", "it looks like a zip archive"),
        (b"\x7fELF", "it looks like a program"),
        (b"{", "it looks like JSON"),
        (b"#!", "it looks like a script"),
    ];
    if first.is_empty() {
        return "it is empty".into();
    }
    match MAGICS.iter().find(|(magic, _)| first.starts_with(magic)) {
        Some((_, text)) => (*text).into(),
        None => {
            let shown = &first[..first.len().min(16)];
            format!("it begins with \"{}\"", shown.escape_ascii())
        }
    }
}

/// Warns of names that are one name to a file system which folds case or composes accents.
fn similar_names(at: &TreePath, dir: &Dir, warnings: &mut Vec<String>) {
    let mut seen = std::collections::BTreeMap::new();
    for (name, node) in &dir.entries {
        if warnings.len() >= MAX_NAME_WARNINGS {
            return;
        }
        let folded: String = name.nfc().collect::<String>().to_lowercase();
        if let Some(other) = seen.insert(folded, name) {
            warnings.push(format!(
                "{other:?} and {name:?} in {at:?} differ only in case or in how accents are \
                 written [skillmount: unique names]"
            ));
        }
        if let (Node::Dir(dir), Ok(path)) = (node, at.join(name)) {
            similar_names(&path, dir, warnings);
        }
    }
}
