//! A directory as lines, to compare with what a test expects.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use skillmount::reference::Digest;

/// Every entry below `root`, sorted by path: `-rwxr-xr-x scripts/run.sh 18`,
/// `drwxr-xr-x scripts`, `lrwxrwxrwx a -> b`. Links are not followed.
pub fn listing(root: impl AsRef<Path>) -> Vec<String> {
    lines(root.as_ref(), |path| fs::metadata(path).unwrap().len().to_string())
}

/// The names in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// As [`listing`], with the short digest of each file in place of its size.
pub fn digests(root: impl AsRef<Path>) -> Vec<String> {
    lines(root.as_ref(), |path| Digest::sha256(&fs::read(path).unwrap()).short())
}

/// As [`listing`], with `uid:gid` of every entry at the line's end.
pub fn owners(root: impl AsRef<Path>) -> Vec<String> {
    let root = root.as_ref();
    let owner = |path: &String| {
        let status = fs::symlink_metadata(root.join(path)).unwrap();
        format!("{path} {}:{}", status.uid(), status.gid())
    };
    walk(root).keys().map(owner).collect()
}

/// Every regular file below `root` with its content.
pub fn contents(root: impl AsRef<Path>) -> BTreeMap<String, Vec<u8>> {
    let root = root.as_ref();
    let files = walk(root).into_iter().filter(|(_, status)| status.is_file());
    files.map(|(path, _)| (path.clone(), fs::read(root.join(path)).unwrap())).collect()
}

fn lines(root: &Path, of_file: impl Fn(&Path) -> String) -> Vec<String> {
    let line = |(path, status): (String, fs::Metadata)| {
        let mode = mode(&status);
        let full = root.join(&path);
        match status.file_type() {
            kind if kind.is_file() => format!("{mode} {path} {}", of_file(&full)),
            kind if kind.is_symlink() => {
                format!("{mode} {path} -> {}", fs::read_link(&full).unwrap().display())
            }
            _ => format!("{mode} {path}"),
        }
    };
    walk(root).into_iter().map(line).collect()
}

fn walk(root: &Path) -> BTreeMap<String, fs::Metadata> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let status = fs::symlink_metadata(&path).unwrap();
            if status.is_dir() {
                left.push(path.clone());
            }
            let relative = path.strip_prefix(root).unwrap().display().to_string();
            found.insert(relative, status);
        }
    }
    found
}

/// The ten characters of `ls -l`.
fn mode(status: &fs::Metadata) -> String {
    let kind = status.file_type();
    let first = match () {
        () if kind.is_dir() => 'd',
        () if kind.is_symlink() => 'l',
        () if kind.is_fifo() => 'p',
        () if kind.is_socket() => 's',
        () if kind.is_char_device() => 'c',
        () if kind.is_block_device() => 'b',
        () => '-',
    };
    let bits = status.permissions().mode();
    let mut text = String::from(first);
    for (shift, special, set, unset) in
        [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let three = bits >> shift;
        text.push(if three & 4 != 0 { 'r' } else { '-' });
        text.push(if three & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & special != 0, three & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => set,
            (true, false) => unset,
        });
    }
    text
}
