//! `/proc/self/mountinfo`, see proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The longest table that is read, in bytes: the 100,000 mounts that `fs.mount-max` allows by
/// default, at 640 bytes each.
pub const MAX_MOUNTINFO: u64 = 64 << 20;

/// One mount. Paths are unescaped; they are seen from this process's root directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Unique among the mounts there are now; used again later.
    pub id: u64,
    /// The mount that this one is on.
    pub parent: u64,
    /// Major and minor number of the file system, as its files' `st_dev` has them.
    pub device: (u32, u32),
    /// What of the file system is mounted: `/`, or for a bind the directory. `//deleted` at its
    /// end means that it no longer has a name.
    pub root: PathBuf,
    /// Where.
    pub mount_point: PathBuf,
    /// Options of this mount: `ro,nosuid,…`.
    pub options: String,
    /// The file system type, with its subtype: `overlay`, `fuse.sshfs`.
    pub fs_type: String,
    /// The source, a name of the file system's choosing; may be empty.
    pub source: String,
    /// Options of the superblock.
    pub super_options: String,
}

/// Why the mount table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MountinfoError {
    /// Reading failed.
    #[error("cannot read /proc/self/mountinfo")]
    Read(#[source] io::Error),
    /// Longer than [`MAX_MOUNTINFO`].
    #[error("/proc/self/mountinfo is longer than {MAX_MOUNTINFO} bytes")]
    TooLong,
    /// A line that is not as the kernel documents it. Leaving it out could hide a mount in use.
    #[error("line {line} of /proc/self/mountinfo has no valid {field}: {text:?}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What could not be read.
        field: &'static str,
        /// The line, cut to 256 characters.
        text: String,
    },
}

/// Reads the table of this process's mount namespace.
pub(super) fn read() -> Result<Vec<Mount>, MountinfoError> {
    let mut text = Vec::new();
    File::open("/proc/self/mountinfo")
        .and_then(|file| file.take(MAX_MOUNTINFO + 1).read_to_end(&mut text))
        .map_err(MountinfoError::Read)?;
    if text.len() as u64 > MAX_MOUNTINFO {
        return Err(MountinfoError::TooLong);
    }
    parse(&text)
}

/// Reads the text of a mountinfo file. Never panics, whatever it is given.
pub fn parse(text: &[u8]) -> Result<Vec<Mount>, MountinfoError> {
    text.split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| {
            mount(line).map_err(|field| MountinfoError::Line {
                line: index + 1,
                field,
                text: String::from_utf8_lossy(line).chars().take(256).collect(),
            })
        })
        .collect()
}

/// One line, or the name of the field that is wrong.
fn mount(line: &[u8]) -> Result<Mount, &'static str> {
    // Exactly one space between fields: an empty source is an empty field.
    let mut fields = line.split(|byte| *byte == b' ');
    let mut next = |name| fields.next().ok_or(name);
    let id = number(next("id")?).ok_or("id")?;
    let parent = number(next("parent")?).ok_or("parent")?;
    let device = device(next("device")?).ok_or("device")?;
    let root = path(next("root")?);
    let mount_point = path(next("mount point")?);
    let options = text(next("options")?);
    // Any number of optional fields (`shared:2`), then a hyphen.
    while next("separator")? != b"-" {}
    Ok(Mount {
        id,
        parent,
        device,
        root,
        mount_point,
        options,
        fs_type: text(next("type")?),
        source: text(next("source")?),
        super_options: text(next("superblock options")?),
    })
}

fn number<N: std::str::FromStr>(field: &[u8]) -> Option<N> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn device(field: &[u8]) -> Option<(u32, u32)> {
    let colon = field.iter().position(|byte| *byte == b':')?;
    Some((number(&field[..colon])?, number(&field[colon + 1..])?))
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

/// Undoes the kernel's `\ooo` for space, tab, newline, backslash and `#`; leaves any other
/// backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                plain.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = after;
            }
            _ => {
                plain.push(first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEAL: &[u8] =
        b"67 43 0:39 / /a\\040b\\134c\\011\\012\\043 ro,nosuid shared:1 master:2 - \
                          overlay skillmount ro,lowerdir=/x:/y\n";

    #[test]
    fn a_line_is_read_field_by_field() {
        let expected = Mount {
            id: 67,
            parent: 43,
            device: (0, 39),
            root: "/".into(),
            mount_point: "/a b\\c\t\n#".into(),
            options: "ro,nosuid".into(),
            fs_type: "overlay".into(),
            source: "skillmount".into(),
            super_options: "ro,lowerdir=/x:/y".into(),
        };
        assert_eq!(parse(SEAL).unwrap(), [expected]);
    }

    #[test]
    fn an_empty_source_and_bytes_that_are_not_text_are_kept_apart() {
        let mounts = parse(b"1 0 8:1 /r\xff /m\\400 rw - tmpfs  rw\n").unwrap();
        assert_eq!(mounts[0].source, "");
        assert_eq!(mounts[0].super_options, "rw");
        assert_eq!(mounts[0].root, PathBuf::from(OsString::from_vec(b"/r\xff".to_vec())));
        assert_eq!(mounts[0].mount_point, PathBuf::from("/m\\400"));
    }

    #[test]
    fn a_broken_line_is_named() {
        for (line, expected) in [
            ("x 0 8:1 / / rw - t s o", "id"),
            ("1 x 8:1 / / rw - t s o", "parent"),
            ("1 0 8 / / rw - t s o", "device"),
            ("1 0 8:x / / rw - t s o", "device"),
            ("1 0 8:1", "root"),
            ("1 0 8:1 /", "mount point"),
            ("1 0 8:1 / /", "options"),
            ("1 0 8:1 / / rw shared:1", "separator"),
            ("1 0 8:1 / / rw -", "type"),
            ("1 0 8:1 / / rw - t", "source"),
            ("1 0 8:1 / / rw - t s", "superblock options"),
        ] {
            let text = [SEAL, line.as_bytes()].concat();
            match parse(&text).unwrap_err() {
                MountinfoError::Line { line: 2, field, .. } => {
                    assert_eq!(field, expected, "{line}")
                }
                error => panic!("{line}: {error}"),
            }
        }
    }

    #[test]
    fn the_table_of_this_process_is_read() {
        assert!(read().unwrap().iter().any(|mount| mount.mount_point == *"/"));
    }

    fn escape(plain: &[u8]) -> Vec<u8> {
        let octal = |byte: &u8| match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{byte:03o}").into_bytes(),
            byte => vec![*byte],
        };
        plain.iter().flat_map(octal).collect()
    }

    proptest! {
        #[test]
        fn no_input_panics(text in prop::collection::vec(any::<u8>(), 0..512)) {
            drop(parse(&text));
        }

        #[test]
        fn nothing_near_a_line_panics(text in "[0-9: /\\\\\n-]{0,128}") {
            drop(parse(text.as_bytes()));
        }

        #[test]
        fn escapes_come_back(plain in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(unescape(&escape(&plain)), plain);
        }
    }
}
