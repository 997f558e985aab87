//! Paths inside an artifact: relative, clean, and never above their root.

use std::fmt;

/// The longest path that is accepted, in bytes (Linux `PATH_MAX`).
pub const MAX_PATH: usize = 4096;
/// The longest component that is accepted, in bytes (Linux `NAME_MAX`).
pub const MAX_COMPONENT: usize = 255;

/// A validated relative path below the root of a tree. The root itself is the empty path.
///
/// No component is empty, `.` or `..`, none holds a slash, NUL or another control character,
/// and all are UTF-8; so joining one to a directory cannot leave that directory by its text.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreePath {
    components: Vec<String>,
}

/// Why a name cannot be a path in a tree. The name is shown escaped: it may hold anything.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum PathError {
    /// The bytes are not UTF-8.
    #[error("path \"{0}\" is not UTF-8")]
    NotUtf8(String),
    /// A component is `..`.
    #[error("path {0:?} has a \"..\" component")]
    Parent(String),
    /// A control character, NUL among them.
    #[error("path {0:?} has a control character")]
    Control(String),
    /// Longer than [`MAX_PATH`].
    #[error("path of {0} bytes is longer than {MAX_PATH}")]
    TooLong(usize),
    /// A component longer than [`MAX_COMPONENT`].
    #[error("path component {0:?} is longer than {MAX_COMPONENT} bytes")]
    ComponentTooLong(String),
}

impl TreePath {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads a name as tar archives and layer titles hold it: leading slashes and `.` components
    /// are dropped, everything that could escape or confuse is an error.
    pub fn parse(name: &[u8]) -> Result<Self, PathError> {
        if name.len() > MAX_PATH {
            return Err(PathError::TooLong(name.len()));
        }
        let text = std::str::from_utf8(name)
            .map_err(|_| PathError::NotUtf8(name.escape_ascii().to_string()))?;
        // U+2028.. and bidirectional controls are not in this class: they are escaped when shown.
        if text.chars().any(char::is_control) {
            return Err(PathError::Control(text.into()));
        }
        let mut components = Vec::new();
        for component in text.split('/') {
            match component {
                "" | "." => {}
                ".." => return Err(PathError::Parent(text.into())),
                long if long.len() > MAX_COMPONENT => {
                    return Err(PathError::ComponentTooLong(long.into()));
                }
                component => components.push(component.to_owned()),
            }
        }
        Ok(Self { components })
    }

    /// The components, outermost first.
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// How many components there are; the root has none.
    pub fn depth(&self) -> usize {
        self.components.len()
    }

    /// The path for a message: characters that a terminal would act on, or that turn the text
    /// around, are escaped.
    pub fn escaped(&self) -> String {
        self.to_string().escape_debug().to_string()
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.components.is_empty()
    }

    /// The last component.
    pub fn name(&self) -> Option<&str> {
        self.components.last().map(String::as_str)
    }

    /// The path without its last component; the root's parent is none.
    pub fn parent(&self) -> Option<Self> {
        let (_, parent) = self.components.split_last()?;
        Some(Self { components: parent.to_vec() })
    }

    /// This path with one more component, which must itself be clean.
    pub fn join(&self, name: &str) -> Result<Self, PathError> {
        let mut joined = self.clone();
        joined.components.extend(Self::parse(name.as_bytes())?.components);
        Ok(joined)
    }

    /// This path below another one.
    pub fn below(&self, root: &Self) -> Self {
        Self { components: [root.components.as_slice(), &self.components].concat() }
    }

    /// The rest of this path below `root`; none if it is not below it. The root is below itself.
    pub fn strip(&self, root: &Self) -> Option<Self> {
        let rest = self.components.strip_prefix(root.components.as_slice())?;
        Some(Self { components: rest.to_vec() })
    }

    /// Where a relative link target leads that stands in the directory `self`; none if it is
    /// absolute, malformed or leaves the root.
    pub fn resolve(&self, target: &str) -> Option<Self> {
        if target.is_empty() || target.starts_with('/') || target.len() > MAX_PATH {
            return None;
        }
        let mut components = self.components.clone();
        for component in target.split('/') {
            match component {
                "" | "." => {}
                ".." => {
                    components.pop()?;
                }
                name if name.len() > MAX_COMPONENT || name.chars().any(char::is_control) => {
                    return None;
                }
                name => components.push(name.to_owned()),
            }
        }
        Some(Self { components })
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_root() {
            true => f.write_str("."),
            false => f.write_str(&self.components.join("/")),
        }
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_parsed_stays_below_the_root(name: Vec<u8>, text in "[./a\\\\é]{0,20}") {
            for name in [name.as_slice(), text.as_bytes()] {
                let Ok(path) = TreePath::parse(name) else { continue };
                prop_assert_eq!(&TreePath::parse(path.to_string().as_bytes()).unwrap(), &path);
                let inside = std::path::Path::new(&path.to_string()).components().all(|component| {
                    use std::path::Component::{CurDir, Normal};
                    matches!(component, CurDir | Normal(_))
                });
                prop_assert!(inside);
                let target = String::from_utf8_lossy(name);
                drop(path.resolve(&target));
            }
        }
    }

    #[test]
    fn names_are_cleaned_or_refused() {
        for (name, expected) in [
            ("a/b", "a/b"),
            ("./a//b/.", "a/b"),
            ("/abs.txt", "abs.txt"),
            (".", "."),
            ("", "."),
            ("a\\b", "a\\b"),
        ] {
            assert_eq!(TreePath::parse(name.as_bytes()).unwrap().to_string(), expected, "{name}");
        }
        for name in ["../x", "a/../../x", "..", "a\0b", "a\nb", "\u{1b}[2J", "\u{85}"] {
            TreePath::parse(name.as_bytes()).unwrap_err();
        }
        assert_eq!(TreePath::parse(b"a\xff"), Err(PathError::NotUtf8("a\\xff".into())));
        TreePath::parse("x".repeat(256).as_bytes()).unwrap_err();
        TreePath::parse("x".repeat(255).as_bytes()).unwrap();
        TreePath::parse("x/".repeat(2049).as_bytes()).unwrap_err();
    }

    #[test]
    fn link_targets_resolve_lexically() {
        let here = TreePath::parse(b"a/b").unwrap();
        assert_eq!(here.resolve("../c").unwrap().to_string(), "a/c");
        assert_eq!(here.resolve("../..").unwrap(), TreePath::root());
        assert_eq!(here.resolve("../../../etc"), None);
        assert_eq!(here.resolve("/etc/passwd"), None);
        assert_eq!(here.resolve(""), None);
    }
}
