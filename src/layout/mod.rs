//! OCI image layouts on this machine: a directory, or a tar of one
//! (OCI image specification, image-layout.md).
//!
//! The files are a stranger's as a registry's answers are: sizes are bounded, blobs are opened
//! without following links, and whoever reads one verifies its digest. Everything here blocks.

mod archive;
mod directory;
mod error;
mod location;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use serde::Deserialize;

use crate::artifact::descriptor::Descriptor;
use crate::artifact::document::MAX_BYTES;
use crate::reference::Digest;

use archive::Archive;
use directory::Directory;

pub use error::LayoutError;
pub use location::{Location, LocationError};

const INDEX: &str = "index.json";
const MARKER: &str = "oci-layout";
const VERSION: &str = "1.0.0";
/// The longest marker file, in bytes.
const MAX_MARKER: u64 = 4096;
/// How many manifests an error lists.
const LISTED: usize = 10;
/// The name of a manifest in a layout: a tag, or a whole reference.
const REFERENCE_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole reference, as containerd and Docker write it beside a tag.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// An open layout.
#[derive(Debug)]
pub struct Layout {
    location: Location,
    files: Files,
}

#[derive(Debug)]
enum Files {
    Directory(Directory),
    Archive(Archive),
}

/// A part of a file: a blob on its way.
#[derive(Debug)]
pub struct Piece {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Piece {
    fn len(&self) -> u64 {
        self.end - self.at
    }

    /// The next bytes, at most `most`; none at the end. A file that has become shorter ends
    /// early, which the blob's size and digest tell.
    pub fn chunk(&mut self, most: usize) -> Result<Option<Vec<u8>>, LayoutError> {
        let wanted = usize::try_from(self.len()).unwrap_or(most).min(most);
        let mut buffer = vec![0; wanted];
        let count = loop {
            match self.file.read_at(&mut buffer, self.at) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                outcome => break outcome.map_err(LayoutError::Read)?,
            }
        };
        buffer.truncate(count);
        self.at += count as u64;
        Ok((count > 0).then_some(buffer))
    }

    fn whole(mut self) -> Result<Vec<u8>, LayoutError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(1 << 20)? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

#[derive(Deserialize)]
struct Index {
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

impl Layout {
    /// Opens a layout, and checks that it is one.
    pub fn open(location: &Location) -> Result<Self, LayoutError> {
        let path = location.path();
        let files = match location.is_archive() {
            true => Files::Archive(Archive::open(path)?),
            false => Files::Directory(Directory::open(path)?),
        };
        let layout = Self { location: location.clone(), files };
        let no_layout = |reason: String| LayoutError::NoLayout { path: path.to_owned(), reason };
        let body = layout
            .file(MARKER, MAX_MARKER)?
            .ok_or_else(|| no_layout(format!("it has no file {MARKER}")))?;
        let marker: Marker = serde_json::from_slice(&body)
            .map_err(|error| no_layout(format!("its {MARKER} cannot be read: {error}")))?;
        if marker.image_layout_version != VERSION {
            let version = marker.image_layout_version;
            return Err(no_layout(format!("its version is {version:?}, not {VERSION:?}")));
        }
        Ok(layout)
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The manifest that `tag` names, with its descriptor: by its reference's name, by the end
    /// of that name, or by digest. Without a tag it must be the only one, or the only named one.
    pub fn resolve(&self, tag: Option<&str>) -> Result<(Descriptor, Vec<u8>), LayoutError> {
        let path = || self.location.path().to_owned();
        let body = self.file(INDEX, MAX_BYTES as u64)?.ok_or_else(|| LayoutError::NoLayout {
            path: path(),
            reason: format!("it has no file {INDEX}"),
        })?;
        let Index { manifests } = serde_json::from_slice(&body)
            .map_err(|source| LayoutError::Index { path: path(), source })?;
        let manifests = manifests.unwrap_or_default();
        let chosen: Vec<&Descriptor> = match tag {
            Some(tag) => manifests.iter().filter(|child| is_named(child, tag)).collect(),
            None if manifests.len() == 1 => manifests.iter().collect(),
            None => manifests.iter().filter(|child| name(child).is_some()).collect(),
        };
        let first = chosen.first().filter(|first| chosen.iter().all(|c| c.digest == first.digest));
        let Some(descriptor) = first else {
            let wanted = tag.map(|tag| format!(" named {tag:?}")).unwrap_or_default();
            let (count, found) = (chosen.len(), listed(&manifests));
            return Err(LayoutError::Choice { path: path(), wanted, count, found });
        };
        let body = self.document(&descriptor.digest, descriptor.size)?;
        Ok(((*descriptor).clone(), body))
    }

    /// A manifest or an index, whole and verified. A `size` of 0 is unknown.
    pub fn document(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, LayoutError> {
        let body = self.blob(digest, size, MAX_BYTES as u64)?.whole()?;
        if !digest.matches(&body) {
            return Err(LayoutError::Digest { digest: digest.clone() });
        }
        Ok(body)
    }

    /// A blob: of `size` bytes, or of at most `cap` if `size` is 0 for unknown. Its digest is for
    /// the reader to check.
    pub fn blob(&self, digest: &Digest, size: u64, cap: u64) -> Result<Piece, LayoutError> {
        let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
        let piece = match &self.files {
            Files::Directory(directory) => directory.blob(algorithm, hex)?,
            Files::Archive(archive) => archive.file(&format!("blobs/{algorithm}/{hex}")),
        };
        let piece = piece.ok_or_else(|| LayoutError::NoBlob { digest: digest.clone() })?;
        let actual = piece.len();
        match size {
            0 if actual > cap => Err(LayoutError::TooLarge { name: digest.to_string(), cap }),
            0 => Ok(piece),
            size if actual != size => {
                Err(LayoutError::Size { digest: digest.clone(), actual, size })
            }
            _ => Ok(piece),
        }
    }

    /// A small file at the layout's root.
    fn file(&self, name: &'static str, cap: u64) -> Result<Option<Vec<u8>>, LayoutError> {
        let piece = match &self.files {
            Files::Directory(directory) => directory.file(name)?,
            Files::Archive(archive) => archive.file(name),
        };
        match piece {
            Some(piece) if piece.len() > cap => {
                Err(LayoutError::TooLarge { name: name.into(), cap })
            }
            Some(piece) => Ok(Some(piece.whole()?)),
            None => Ok(None),
        }
    }
}

fn name(child: &Descriptor) -> Option<&str> {
    child.annotation(REFERENCE_NAME).filter(|name| !name.is_empty())
}

fn is_named(child: &Descriptor, tag: &str) -> bool {
    let ends = |name: &str| name.strip_suffix(tag).is_some_and(|rest| rest.ends_with(':'));
    let names = [name(child), child.annotation(IMAGE_NAME)];
    names.into_iter().flatten().any(|name| name == tag || ends(name))
        || child.digest.to_string() == tag
}

/// What a layout has, for the reader of an error.
fn listed(manifests: &[Descriptor]) -> String {
    let one = |child: &Descriptor| match name(child) {
        Some(name) => name.escape_debug().take(256).collect(),
        None => child.digest.to_string(),
    };
    let mut list: Vec<String> = manifests.iter().take(LISTED).map(one).collect();
    if manifests.len() > LISTED {
        list.push("…".into());
    }
    if list.is_empty() { "nothing".into() } else { list.join(", ") }
}
