//! Archives that are unpacked, to the last mode bit.

use std::os::unix::fs::MetadataExt;

use super::support::*;
use crate::artifact::path::TreePath;
use crate::artifact::plan::Action;

fn tar(bytes: Vec<u8>) -> Layers {
    vec![(tar_layer(), bytes)]
}

fn images(layers: Vec<Vec<u8>>) -> Layers {
    layers.into_iter().map(|bytes| (Action::ImageLayer, bytes)).collect()
}

#[test]
fn single_layers() {
    let skill = || Tar::new().file("SKILL.md", "hello");
    let hello = ["f644 SKILL.md hello"];
    expect("O01 plain", &tar(skill().end()), &hello, &[]);
    expect("O01 gzip", &tar(gzip(&skill().end())), &hello, &[]);
    let zstd = zstd::encode_all(skill().end().as_slice(), 3).unwrap();
    expect("V27 zstd", &tar(zstd), &hello, &[]);
    let bytes = skill().end();
    let members = [gzip(&bytes[..700]), gzip(&bytes[700..])].concat();
    expect("O02 two members", &tar(members), &hello, &[]);
    expect("O17 no end marker", &tar(skill().0), &hello, &[]);
    for length in [517, 518, 1023] {
        let bytes = skill().0[..length].to_vec();
        expect("O17 the last padding cut off (umoci)", &tar(bytes), &hello, &[]);
    }
    let one_block = [skill().0, vec![0; 512]].concat();
    expect("O17 half an end marker", &tar(one_block), &hello, &[]);
    let padded = [skill().end(), vec![0; 20 << 20]].concat();
    expect("O17 20 MiB of padding", &tar(padded.clone()), &hello, &[]);
    expect("O17 the same, compressed", &tar(gzip(&padded)), &hello, &[]);
    let mut record = Tar::new().dir("./").file("./SKILL.md", "hello").end();
    record.resize(10_240, 0);
    expect("V21 ./ entries, 10 KiB record", &tar(gzip(&record)), &hello, &[]);
    expect("empty tar", &tar(Vec::new()), &[], &[]);
    expect("gzip of nothing", &tar(gzip(b"")), &[], &[]);
    expect("only an end marker", &tar(Tar::new().end()), &[], &[]);
    let trailing = [skill().end(), vec![1; 1 << 20]].concat();
    expect("trailing bytes within limits", &tar(trailing), &hello, &[]);
}

#[test]
fn names_and_modes() {
    let modes = Tar::new()
        .header(&Header { name: b"closed", kind: b'5', mode: 0, ..Header::default() })
        .mode("closed/none", 0, "0")
        .mode("private", 0o600, "1")
        .mode("M07", 0o6711, "2")
        .mode("group-x", 0o654, "3")
        .pax("SCHILY.xattr.security.capability", b"\x01\x00\x00\x02")
        .file("M07-xattr", "4");
    let expected = [
        "d755 closed/",
        "f644 closed/none 0",
        "f644 private 1",
        "f755 M07 2",
        "f755 group-x 3",
        "f644 M07-xattr 4",
    ];
    expect("O10 M07", &tar(modes.end()), &expected, &[]);

    let long = "n".repeat(255);
    let deep = ["d"; 31].join("/");
    let names = Tar::new()
        .pax("path", format!("pax/{long}").as_bytes())
        .file("short", "p")
        .extension(b'L', format!("gnu/{long}\0").as_bytes())
        .file("short", "g")
        .extension(b'g', &pax("comment", b"global"))
        .file("grün/日本語", "u")
        .file("back\\slash", "b")
        .file("\u{202e}rtl", "r")
        .file(&format!("{deep}/f"), "32 deep");
    let (pax, gnu, last) = (
        format!("f644 pax/{long} p"),
        format!("f644 gnu/{long} g"),
        format!("f644 {deep}/f 32 deep"),
    );
    let dirs: Vec<String> =
        (1..=31).map(|depth| format!("d755 {}/", vec!["d"; depth].join("/"))).collect();
    let mut expected = vec![
        "d755 pax/",
        &pax,
        "d755 gnu/",
        &gnu,
        "d755 grün/",
        "f644 grün/日本語 u",
        "f644 back\\slash b",
        "f644 \u{202e}rtl r",
        &last,
    ];
    expected.extend(dirs.iter().map(String::as_str));
    expect("O11 M16", &tar(names.end()), &expected, &[]);

    let order = Tar::new()
        .file("a/b/c", "1")
        .dir("a/")
        .dir("a/b")
        .dir("a/b/")
        .file("/abs", "2")
        .header(&Header { name: b"old/", kind: 0, magic: b"", ..Header::default() });
    let expected = ["d755 a/", "d755 a/b/", "f644 a/b/c 1", "f644 abs 2", "d755 old/"];
    expect("O12 M02", &tar(order.end()), &expected, &[]);
}

#[test]
fn links_and_duplicates() {
    let links = Tar::new()
        .file("README.md", "text")
        .link("again", "./README.md")
        .symlink("SKILL.md", "README.md")
        .symlink("SKILL.md", "README.md")
        .symlink("bin/sh", "/bin/sh");
    expect(
        "O13 V12",
        &tar(links.end()),
        &["f644 README.md text", "f644 again text", "d755 bin/"],
        &["l SKILL.md -> README.md", "l bin/sh -> /bin/sh"],
    );
    let twice = Tar::new().file("a", "1").mode("a", 0o755, "1");
    let warnings = expect("M14 same bytes", &tar(twice.end()), &["f644 a 1"], &[]);
    assert_eq!(warnings.len(), 1);
    let cases = Tar::new().file("SKILL.md", "1").file("skill.MD", "2");
    let expected = ["f644 SKILL.md 1", "f644 skill.MD 2"];
    let warnings = expect("M14 case", &tar(cases.end()), &expected, &[]);
    assert_eq!(
        warnings,
        ["\"SKILL.md\" and \"skill.MD\" in \".\" differ only in case or in how accents are \
             written [skillmount: unique names]"]
    );
}

#[test]
fn image_layers() {
    let lower = Tar::new()
        .file("SKILL.md", "one")
        .file("old", "x")
        .file("old2/a", "a")
        .file("old2/deep/c", "c")
        .file("kept/k", "k");
    let upper = Tar::new()
        .file("SKILL.md", "two")
        .file(".wh.old", "")
        .file("old2/b", "b")
        .file("old2/.wh..wh..opq", "")
        .file(".wh..wh.plnk/1.2", "plnk")
        .file(".wh..wh.aufs", "aufs")
        .file(".wh.missing", "")
        .file("no/.wh.where", "");
    let expected =
        ["f644 SKILL.md two", "d755 old2/", "f644 old2/b b", "d755 kept/", "f644 kept/k k"];
    expect("V20", &images(vec![gzip(&lower.end()), upper.end()]), &expected, &[]);

    let lower = || Tar::new().file("d/x", "x").file("d/sub/low", "l").end();
    let opaque_first = Tar::new().file("d/.wh..wh..opq", "").file("d/sub/up", "u").end();
    let opaque_last = Tar::new().file("d/sub/up", "u").file("d/.wh..wh..opq", "").end();
    for upper in [opaque_first, opaque_last] {
        let expected = ["d755 d/", "d755 d/sub/", "f644 d/sub/up u"];
        expect("opaque in any order", &images(vec![lower(), upper]), &expected, &[]);
    }
    let upper = Tar::new().file(".wh.d", "").file("e", "e").end();
    expect("whiteout of a directory", &images(vec![lower(), upper]), &["f644 e e"], &[]);

    let lower = Tar::new()
        .file("dir/in/file", "1")
        .file("file", "2")
        .file("same", "3")
        .symlink("link", "file");
    let upper = Tar::new()
        .file("dir", "now a file")
        .file("file/below", "now a directory")
        .link("again", "same")
        .file("link", "now a file");
    let expected = [
        "f644 dir now a file",
        "d755 file/",
        "f644 file/below now a directory",
        "f644 same 3",
        "f644 again 3",
        "f644 link now a file",
    ];
    expect("overlay", &images(vec![lower.end(), upper.end()]), &expected, &[]);
    let lower = Tar::new().symlink("link", "/etc").file("x", "1").symlink("y", "x");
    let upper = Tar::new().dir("link").file("link/in", "2").symlink("x", "y").dir("y");
    let expected = ["d755 link/", "f644 link/in 2", "d755 y/"];
    expect("links", &images(vec![lower.end(), upper.end()]), &expected, &["l x -> y"]);
}

#[test]
fn titles() {
    let file = |title: &str| Action::File { title: path(title) };
    let script = b"#!/bin/sh\n".to_vec();
    let gz = gzip(b"x");
    let unpacked = expect(
        "O15 V10",
        &vec![
            (file("a/run.sh"), script.clone()),
            (file("b/run.sh"), script.clone()),
            (file("empty"), Vec::new()),
            (file("a/run.sh"), script.clone()),
        ],
        &[
            "d755 a/",
            "f755 a/run.sh #!/bin/sh\n",
            "d755 b/",
            "f755 b/run.sh #!/bin/sh\n",
            "f644 empty ",
        ],
        &[],
    );
    assert_eq!(unpacked, Vec::<String>::new());

    // Compressed files stay as they are; only an archive that is one is opened.
    let titled = |title: &str| Action::TitledArchive { title: path(title) };
    let bench = Bench::new();
    let layers = vec![
        (file("data.gz"), gz.clone()),
        (titled("more.gz"), gz.clone()),
        (titled("notes.md"), b"# raw".to_vec()),
        (titled("__init__.py"), Vec::new()),
        (titled("run"), script),
        (titled("skill.tar.gz"), gzip(&Tar::new().file("SKILL.md", "s").end())),
    ];
    unpack_into(bench.sink(), &Default::default(), &layers).unwrap();
    for (name, bytes) in [
        ("data.gz", gz.as_slice()),
        ("more.gz", &gz),
        ("notes.md", b"# raw"),
        ("__init__.py", b""),
        ("SKILL.md", b"s"),
    ] {
        assert_eq!(std::fs::read(bench.staging().join(name)).unwrap(), bytes, "{name}");
    }
    assert_eq!(std::fs::metadata(bench.staging().join("run")).unwrap().mode() & 0o7777, 0o755);

    let content =
        Tar::new().dir("skill").file("skill/SKILL.md", "s").symlink("skill/l", "SKILL.md");
    let content = content.end();
    let directory = |title: &str, bytes: &[u8]| Action::Directory {
        title: path(title),
        content: Some(crate::reference::Digest::sha256(bytes)),
    };
    let expected = ["d755 skill/", "f644 skill/SKILL.md s"];
    let links = ["l skill/l -> SKILL.md"];
    for title in ["skill", "."] {
        let layers = vec![(directory(title, &content), gzip(&content))];
        expect("V12 V13", &layers, &expected, &links);
    }
    let under = Action::Tar { under: path("docs/x") };
    let bytes = Tar::new().dir(".").file("a", "a").link("b", "a").end();
    let expected = ["d755 docs/", "d755 docs/x/", "f644 docs/x/a a", "f644 docs/x/b a"];
    expect("below a path", &vec![(under, bytes)], &expected, &[]);
}

#[test]
fn unknown_layers() {
    let unknown = |bytes: &[u8]| vec![(Action::Unknown, bytes.to_vec())];
    let text = "---\nname: x\n---\n";
    let line = format!("f644 SKILL.md {text}");
    assert!(expect("O04", &unknown(text.as_bytes()), &[&line], &[]).is_empty());
    assert!(expect("O04 gzip", &unknown(&gzip(text.as_bytes())), &[&line], &[]).is_empty());
    let bom = format!("\u{feff}{text}");
    expect("O04 BOM", &unknown(bom.as_bytes()), &[&format!("f644 SKILL.md {bom}")], &[]);
    let tar = Tar::new().file("SKILL.md", "s").end();
    assert_eq!(expect("tar", &unknown(&gzip(&tar)), &["f644 SKILL.md s"], &[]).len(), 1);
    let old = Tar::new()
        .header(&Header { name: b"SKILL.md", size: 1, magic: b"", ..Header::default() })
        .body(b"s");
    assert_eq!(expect("V7 tar", &unknown(&old.end()), &["f644 SKILL.md s"], &[]).len(), 1);
}

#[test]
fn times_are_kept_if_zip_can_tell_them() {
    let bench = Bench::new();
    let old = Header { name: b"old", mtime: 0, ..Header::default() };
    let tar = Tar::new().file("new", "n").header(&old).pax("mtime", b"1600000000.75").file("p", "");
    let unpacked = unpack_into(bench.sink(), &Default::default(), &tar_layers(tar)).unwrap();
    let time = |name: &str| std::fs::metadata(bench.staging().join(name)).unwrap().mtime();
    assert_eq!(time("new"), MTIME as i64);
    assert_eq!(time("p"), 1_600_000_000);
    assert!(time("old") > 315_532_800);
    assert_eq!(unpacked.tree.walk(&TreePath::root()).len(), 3);
}

fn tar_layers(archive: Tar) -> Layers {
    tar(archive.end())
}
