//! `oci:PATH[:TAG]` and `oci-archive:PATH[:TAG]`, as skopeo and podman write them.

use std::fmt;
use std::path::{Path, PathBuf};

/// A layout on this machine, and which of its manifests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    archive: bool,
    path: PathBuf,
    tag: Option<String>,
}

/// Why a text that starts like a location is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} names no path: write oci:PATH[:TAG] or oci-archive:PATH[:TAG]")]
pub struct LocationError(String);

impl Location {
    /// Reads a location; none if the text does not start like one. The path ends at the first
    /// colon (containers-transports(5)): a tag may be a whole reference or a digest.
    pub fn parse(text: &str) -> Result<Option<Self>, LocationError> {
        let (archive, rest) = match (text.strip_prefix("oci:"), text.strip_prefix("oci-archive:")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            (None, None) => return Ok(None),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag.to_owned()).filter(|tag| !tag.is_empty())),
            None => (rest, None),
        };
        if path.is_empty() {
            return Err(LocationError(text.into()));
        }
        Ok(Some(Self { archive, path: path.into(), tag }))
    }

    /// Whether the path is a tar of a layout.
    pub fn is_archive(&self) -> bool {
        self.archive
    }

    /// The directory or the archive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which manifest; none for the only one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The location without the tag.
    pub fn place(&self) -> String {
        let transport = if self.archive { "oci-archive" } else { "oci" };
        format!("{transport}:{}", self.path.display())
    }

    /// The path's last component without an archive's ending.
    pub fn name(&self) -> &str {
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_suffix(".tar").filter(|_| self.archive).unwrap_or(name)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())?;
        match &self.tag {
            Some(tag) => write!(f, ":{tag}"),
            None => Ok(()),
        }
    }
}
