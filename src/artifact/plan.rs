//! The plan of an artifact: its layers in order, and what to do with each.

use super::descriptor::Descriptor;
use super::path::TreePath;
use crate::reference::{Digest, Hasher};

/// The version of the unpacking rules. A change that makes other files of the same bytes raises
/// it, and with it every content key.
pub const ALGORITHM_VERSION: u32 = 1;

/// What to lay out of one manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The format's stable name: `image`, `agentskills`, `oras-directory`, `files`, ….
    pub format: &'static str,
    /// Layers, lowest first.
    pub layers: Vec<Layer>,
    /// The config blob where it says something worth reading (image config, F2 config).
    pub config: Option<Descriptor>,
    /// What is odd about the manifest, for people. A strict validation makes them errors.
    pub warnings: Vec<String>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Where the bytes are.
    pub descriptor: Descriptor,
    /// What to do with them.
    pub action: Action,
    /// The digest of the bytes when decompressed, as an image's config gives it.
    pub diff_id: Option<Digest>,
}

/// What to do with a layer's bytes (formats.md §6.3). Compression is always told by magic bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A file-system layer: whiteouts hide what lower layers hold.
    ImageLayer,
    /// A tar whose entries go below `under`. A whiteout has no meaning in it and is refused.
    Tar {
        /// Where its root is in the tree.
        under: TreePath,
    },
    /// A directory packed by ORAS: a tar whose entries must all lie below `title`.
    Directory {
        /// The directory's name; the root for `.`.
        title: TreePath,
        /// `io.deis.oras.content.digest`: the digest of the tar before compression.
        content: Option<Digest>,
    },
    /// Titled like an archive: unpacked into the root if the bytes are a tar, else a file.
    TitledArchive {
        /// The file's path if it is one.
        title: TreePath,
    },
    /// A file, verbatim: never decompressed.
    File {
        /// Where to write it.
        title: TreePath,
    },
    /// One layer about which nothing is known: a tar, or a bare SKILL.md, told by its bytes.
    Unknown,
}

impl Action {
    /// A text that tells actions apart which make different files of the same bytes. A single
    /// image layer has nothing to hide: it makes the files of a plain tar.
    fn fingerprint(&self, single: bool) -> String {
        match self {
            Self::ImageLayer if single => Self::Tar { under: TreePath::root() }.fingerprint(single),
            Self::ImageLayer => "image".into(),
            Self::Tar { under } => format!("tar\0{under}"),
            Self::Directory { title, .. } => format!("directory\0{title}"),
            Self::TitledArchive { title } => format!("archive\0{title}"),
            Self::File { title } => format!("file\0{title}"),
            Self::Unknown => "unknown".into(),
        }
    }
}

impl Plan {
    /// The content key of the tree that this plan makes: it covers the layers' digests and
    /// actions, the version of the rules, and `options`, which are those of the volume's
    /// attributes that change bytes. Lower-case hexadecimal, fit for a file name.
    pub fn key(&self, options: &str) -> String {
        let mut hasher = Hasher::new(crate::reference::Algorithm::Sha256);
        hasher.update(format!("skillmount tree {ALGORITHM_VERSION}\n{options}\n").as_bytes());
        let single = self.layers.len() == 1;
        for layer in &self.layers {
            let line =
                format!("{}\0{}\n", layer.descriptor.digest, layer.action.fingerprint(single));
            hasher.update(line.as_bytes());
        }
        hasher.finish().hex().to_owned()
    }

    /// Takes the digests of an image's decompressed layers from its config. A list of another
    /// length is that of other layers, and says nothing about these (formats.md §6.3, row 4).
    pub fn expect(&mut self, diff_ids: &[Digest]) {
        let image = |layer: &Layer| layer.action == Action::ImageLayer;
        if diff_ids.len() == self.layers.len() && self.layers.iter().all(image) {
            for (layer, diff_id) in self.layers.iter_mut().zip(diff_ids) {
                layer.diff_id = Some(diff_id.clone());
            }
        }
    }

    /// The sum of the layers' sizes as the manifest claims them, in bytes.
    pub fn download_bytes(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.descriptor.size))
    }
}
