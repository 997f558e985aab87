use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::observability::chain;

const MARKER_BODY: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Files of a layout: two manifests under two names.
fn files() -> Vec<(String, Vec<u8>)> {
    let bodies = [b"{\"one\":1}".to_vec(), b"{\"two\":2}".to_vec()];
    let children: Vec<_> = bodies
        .iter()
        .zip(["v1", "host.io/acme/x:v2"])
        .map(|(body, name)| {
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": Digest::sha256(body).to_string(),
                "size": body.len(),
                "annotations": {REFERENCE_NAME: name},
            })
        })
        .collect();
    let mut files = vec![
        (MARKER.to_owned(), MARKER_BODY.into()),
        (INDEX.to_owned(), json!({"schemaVersion": 2, "manifests": children}).to_string().into()),
    ];
    for body in bodies {
        files.push((format!("blobs/sha256/{}", Digest::sha256(&body).hex()), body));
    }
    files
}

fn directory(at: &Path, files: &[(String, Vec<u8>)]) {
    for (path, body) in files {
        fs::create_dir_all(at.join(path).parent().unwrap()).unwrap();
        fs::write(at.join(path), body).unwrap();
    }
}

/// A tar as skopeo writes it.
fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, body) in files {
        let mut header = [0; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        tar.extend_from_slice(&header);
        tar.extend_from_slice(body);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn location(text: &str) -> Location {
    Location::parse(text).unwrap().unwrap()
}

fn resolve(location: &Location) -> Result<Vec<u8>, LayoutError> {
    Ok(Layout::open(location)?.resolve(location.tag())?.1)
}

#[test]
fn locations() {
    let parts = |text: &str| {
        let location = location(text);
        assert_eq!(location.to_string(), text);
        (location.is_archive(), location.tag().map(str::to_owned), location.name().to_owned())
    };
    assert_eq!(parts("oci:build/x"), (false, None, "x".into()));
    assert_eq!(parts("oci:x.tar:v1"), (false, Some("v1".into()), "x.tar".into()));
    let whole = (true, Some("host:5000/x:v1".into()), "x".into());
    assert_eq!(parts("oci-archive:/a/x.tar:host:5000/x:v1"), whole);
    assert_eq!(Location::parse("host/oci:v1"), Ok(None));
    for text in ["oci:", "oci-archive::v1"] {
        Location::parse(text).unwrap_err();
    }
}

#[test]
fn both_kinds_find_manifests_by_name_and_digest() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, tar) = (scratch.path().join("dir"), scratch.path().join("x.tar"));
    let files = files();
    directory(&dir, &files);
    fs::write(&tar, archive(&files)).unwrap();
    let digest = Digest::sha256(b"{\"one\":1}");
    for place in [format!("oci:{}", dir.display()), format!("oci-archive:{}", tar.display())] {
        for (tag, body) in [
            ("v1", "{\"one\":1}"),
            ("v2", "{\"two\":2}"),
            ("host.io/acme/x:v2", "{\"two\":2}"),
            (&digest.to_string(), "{\"one\":1}"),
        ] {
            assert_eq!(resolve(&location(&format!("{place}:{tag}"))).unwrap(), body.as_bytes());
        }
        let error = resolve(&location(&place)).unwrap_err().to_string();
        assert!(error.ends_with("has 2 manifests, not one (it has: v1, host.io/acme/x:v2)"));
        let error = resolve(&location(&format!("{place}:v3"))).unwrap_err().to_string();
        assert!(error.contains("has 0 manifests named \"v3\", not one"), "{error}");
    }
}

#[test]
fn a_directory_is_read_without_following_links() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let files = files();
    directory(dir, &files);
    let place = location(&format!("oci:{}:v1", dir.display()));
    let blob = dir.join(&files[2].0);
    let secret = dir.join("secret");
    fs::write(&secret, "{\"one\":1}").unwrap();
    fs::remove_file(&blob).unwrap();
    let error = resolve(&place).unwrap_err();
    assert!(matches!(error, LayoutError::NoBlob { .. }), "{error}");
    symlink(&secret, &blob).unwrap();
    let error = resolve(&place).unwrap_err();
    assert!(matches!(error, LayoutError::NoFile { .. }), "{error}");
    fs::remove_file(&blob).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &blob, rustix::fs::Mode::RWXU).unwrap();
    let error = resolve(&place).unwrap_err();
    assert!(matches!(error, LayoutError::NoFile { .. }), "{error}");
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, "{\"one\":2}").unwrap();
    let error = resolve(&place).unwrap_err();
    assert!(matches!(error, LayoutError::Digest { .. }), "{error}");
    fs::write(&blob, "longer than it says").unwrap();
    let error = resolve(&place).unwrap_err();
    assert!(matches!(error, LayoutError::Size { actual: 19, size: 9, .. }), "{error}");
    fs::rename(dir.join("blobs/sha256"), dir.join("elsewhere")).unwrap();
    symlink("../elsewhere", dir.join("blobs/sha256")).unwrap();
    let error = resolve(&place).unwrap_err();
    assert!(matches!(error, LayoutError::NoFile { .. }), "{error}");
}

#[test]
fn what_is_no_layout_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("dir");
    let refused = |text: &str| chain(&resolve(&location(text)).unwrap_err());
    let (path, oci) = (dir.display().to_string(), format!("oci:{}", dir.display()));
    assert!(refused(&oci).starts_with(&format!("cannot open {path}: No such file")));
    fs::create_dir(&dir).unwrap();
    assert_eq!(refused(&oci), format!("{path} is no OCI image layout: it has no file oci-layout"));
    fs::write(dir.join(MARKER), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(refused(&oci).ends_with("its version is \"2.0.0\", not \"1.0.0\""));
    fs::write(dir.join(MARKER), vec![b' '; 5000]).unwrap();
    assert_eq!(refused(&oci), "oci-layout of the layout has more than 4096 bytes");
    fs::write(dir.join(MARKER), MARKER_BODY).unwrap();
    assert!(refused(&oci).ends_with("it has no file index.json"));
    fs::write(dir.join(INDEX), "[]").unwrap();
    assert!(refused(&oci).starts_with(&format!("the index.json of {path} cannot be read: ")));
    fs::write(dir.join(INDEX), "{}").unwrap();
    assert_eq!(refused(&oci), format!("{path} has 0 manifests, not one (it has: nothing)"));

    let file = scratch.path().join("x.tar");
    let archive_refused = |bytes: &[u8]| {
        fs::File::create(&file).unwrap().write_all(bytes).unwrap();
        refused(&format!("oci-archive:{}", file.display()))
    };
    let whole = archive(&files());
    let twice = [archive(&files()[..2]), Vec::new()].concat();
    let twice = [&twice[..twice.len() - 1024], &whole].concat();
    for (bytes, expected) in [
        (&b""[..], "it has no file oci-layout"),
        (&whole[..512 + 10], "it is cut off in the entry at byte 0"),
        (&[b'x'; 600], "there is no tar header at byte 0"),
        (&twice, "it has oci-layout twice"),
        (&[&[0x1f, 0x8b][..], &[7; 600]].concat(), "it is compressed; decompress it first"),
    ] {
        let error = archive_refused(bytes);
        assert!(error.ends_with(expected), "{error}");
    }
    assert!(refused(&format!("oci:{}", file.display())).contains("oci-archive: reads a tar"));
    assert!(refused(&format!("oci-archive:{path}")).contains("oci: reads a directory"));
}
