//! Archives that are refused. What matters besides the refusal is what was touched: nothing.

use super::support::*;
use crate::artifact::plan::Action;
use crate::reference::Digest;
use crate::unpack::{Limits, Problem};

macro_rules! assert_refused {
    ($id:expr, $layers:expr, $pattern:pat) => {
        match refuse($id, &$layers, &Limits::default()) {
            $pattern => {}
            other => panic!("{}: {other:?}", $id),
        }
    };
}

fn tar(archive: Tar) -> Layers {
    vec![(tar_layer(), archive.end())]
}

fn images(lower: Tar, upper: Tar) -> Layers {
    [lower, upper].map(|archive| (Action::ImageLayer, archive.end())).into()
}

#[test]
fn names_that_lead_out() {
    for name in ["../evil", "a/../../evil", "..", "a/..", "new\nline", "\u{1b}[2J"] {
        assert_refused!(name, tar(Tar::new().file(name, "x")), Problem::Name { .. });
    }
    let nul = Tar::new().pax("path", b"a\0b").file("short", "x");
    assert_refused!("NUL", tar(nul), Problem::Name { .. });
    let latin = Tar::new().header(&Header { name: b"gr\xfcn", ..Header::default() });
    assert_refused!("not UTF-8", tar(latin), Problem::Name { .. });
    let long = Tar::new().pax("path", &[b'x'; 256]).file("short", "x");
    assert_refused!("O11 256 bytes", tar(long), Problem::Name { .. });
    let deep = Tar::new()
        .pax("path", "d/".repeat(100_000).trim_end_matches('/').as_bytes())
        .file("short", "x");
    assert_refused!("M10 deep", tar(deep), Problem::Name { .. });
    let root = Tar::new().symlink(".", "/etc");
    assert_refused!("root is a link", tar(root), Problem::Root { .. });
    let title = Action::File { title: path(".") };
    assert_refused!("M08 no title", vec![(title, b"x".to_vec())], Problem::NoTitle);
}

#[test]
fn symbolic_links_are_never_followed() {
    let one = Tar::new().symlink("w", "/tmp").file("w/evil.txt", "x");
    assert_refused!("M04", tar(one.clone()), Problem::ThroughSymlink { .. });
    assert_refused!("M04 image", images(Tar::new(), one), Problem::ThroughSymlink { .. });
    let two = images(Tar::new().symlink("w", "/tmp"), Tar::new().file("w/evil.txt", "x"));
    assert_refused!("M04 two layers", two, Problem::ThroughSymlink { .. });
    let marks = images(Tar::new().symlink("w", "."), Tar::new().file("w/.wh.x", ""));
    assert_refused!("M04 whiteout", marks, Problem::ThroughSymlink { .. });
    let oras = |title: &str, archive: Tar| {
        (Action::Directory { title: path(title), content: None }, archive.end())
    };
    let layers = vec![
        oras("a", Tar::new().symlink("a/x", "/tmp")),
        oras("a/x", Tar::new().file("a/x/evil", "x")),
    ];
    assert_refused!("M09", layers, Problem::ThroughSymlink { .. });
    let layers = vec![
        oras("a", Tar::new().symlink("a/x", "/tmp")),
        (Action::File { title: path("a/x/evil") }, b"x".to_vec()),
    ];
    assert_refused!("M09 file", layers, Problem::ThroughSymlink { .. });
    let long = "t".repeat(4097);
    for (id, target) in [("control", "a\nb"), ("long", long.as_str())] {
        let link = Tar::new().pax("linkpath", target.as_bytes()).symlink("l", "x");
        assert_refused!(id, tar(link), Problem::SymlinkTarget { .. });
    }
    assert_refused!("empty", tar(Tar::new().symlink("l", "")), Problem::SymlinkTarget { .. });
    let over = Tar::new().symlink("l", "a").symlink("l", "b");
    assert_refused!("two targets", tar(over), Problem::Duplicate { .. });
    let over = Tar::new().symlink("l", "a").file("l", "b");
    assert_refused!("link then file", tar(over), Problem::Conflict { .. });
}

#[test]
fn hard_links() {
    for target in ["../../etc/passwd", "/etc/passwd", "later", "s", "d", ".", ""] {
        let archive = Tar::new()
            .file("f", "x")
            .symlink("s", "f")
            .dir("d")
            .link("h", target)
            .file("later", "x");
        assert_refused!(target, tar(archive), Problem::HardLink { .. });
    }
    let archive = Tar::new().symlink("d", "/etc").link("h", "d/passwd");
    assert_refused!("M05 through a link", tar(archive), Problem::HardLink { .. });
    let archive = images(Tar::new().file("d/f", "x"), Tar::new().link("d", "d/f"));
    assert_refused!("over its own target", archive, Problem::HardLink { .. });
    let archive = images(Tar::new().file("f", "x"), Tar::new().link("f/h", "f"));
    assert_refused!("below its own target", archive, Problem::HardLink { .. });
    let archive = Tar::new().file("f", "x").link("f", "f");
    assert_refused!("itself", tar(archive), Problem::HardLink { .. });
    let archive = Tar::new().file("f", "x").file("g", "y").link("g", "f");
    assert_refused!("over a file", tar(archive), Problem::Conflict { .. });
}

#[test]
fn types() {
    for kind in [b'3', b'4', b'6', b'S', b's', b'V', b'M', b'\xff'] {
        let id = format!("M06 {kind}");
        assert_refused!(&id, tar(Tar::new().kind("x", kind, "")), Problem::Type { .. });
    }
    for (key, value) in [("GNU.sparse.map", "0,1"), ("GNU.sparse.realsize", "10737418240")] {
        let sparse = Tar::new().pax(key, value.as_bytes()).file("x", "x");
        assert_refused!(key, tar(sparse), Problem::Type { .. });
    }
    let records = [
        pax("GNU.sparse.major", b"1"),
        pax("GNU.sparse.minor", b"0"),
        pax("GNU.sparse.realsize", b"10737418240"),
    ];
    for body in ["1\n0\n1\n", "no newline at all"] {
        let sparse = Tar::new().extension(b'x', &records.concat()).file("x", &body.repeat(100));
        let layers = tar(sparse);
        assert_refused!(
            "PAX 1.0",
            layers,
            Problem::Type { .. } | Problem::Tar { .. } | Problem::Truncated { .. }
        );
    }
    let error = refuse("fifo", &tar(Tar::new().kind("x", b'6', "")), &Limits::default());
    assert_eq!(
        error.to_string(),
        "\"x\" is a fifo; only files, directories and links are unpacked"
    );
}

#[test]
fn conflicts_in_one_layer() {
    for (id, archive) in [
        ("file, file below", Tar::new().file("a", "1").file("a/b", "2")),
        ("file then dir", Tar::new().file("a", "1").dir("a")),
        ("dir then file", Tar::new().dir("a").file("a", "1")),
        ("parent then file", Tar::new().file("a/b", "1").file("a", "1")),
        ("dir then link", Tar::new().dir("a").symlink("a", "b")),
    ] {
        assert_refused!(id, tar(archive.clone()), Problem::Conflict { .. });
        assert_refused!(id, images(Tar::new().file("a", "0"), archive), Problem::Conflict { .. });
    }
    for (one, two) in [("1", "2"), ("", "2"), ("1", ""), ("12", "1")] {
        let archive = Tar::new().file("a", one).file("./a", two);
        assert_refused!("M14", tar(archive), Problem::Duplicate { .. });
        let file = |content: &str| (Action::File { title: path("a") }, content.as_bytes().to_vec());
        assert_refused!("M14 layers", vec![file(one), file(two)], Problem::Duplicate { .. });
    }
}

#[test]
fn whiteouts() {
    let lower = || Tar::new().file("a/b", "x").file("SKILL.md", "x");
    for (id, upper) in [
        ("M15 before", Tar::new().file(".wh.SKILL.md", "").file("SKILL.md", "y")),
        ("M15 after", Tar::new().file("SKILL.md", "y").file(".wh.SKILL.md", "")),
        ("M15 below", Tar::new().file(".wh.a", "").file("a/c", "y")),
        ("M15 above", Tar::new().file("a/c", "y").file(".wh.a", "")),
        ("M15 nothing", Tar::new().file(".wh.", "")),
        ("M15 .", Tar::new().file(".wh..", "")),
        ("M15 ..", Tar::new().file("a/.wh...", "")),
        ("below a whiteout", Tar::new().file(".wh.a/b", "")),
    ] {
        assert_refused!(id, images(lower(), upper), Problem::Whiteout { .. });
    }
    for name in [".wh.a", "a/.wh..wh..opq", ".wh.a/b"] {
        assert_refused!(name, tar(Tar::new().file(name, "")), Problem::Whiteout { .. });
    }
    let title = Action::File { title: path("a/.wh.b") };
    assert_refused!("title", vec![(title, Vec::new())], Problem::Whiteout { .. });
}

#[test]
fn oras_directories() {
    let directory = |content| Action::Directory { title: path("skill"), content };
    let bytes = Tar::new().file("skill/a", "x").end();
    let wrong = directory(Some(Digest::sha256(b"other")));
    assert_refused!("M27 digest", vec![(wrong, gzip(&bytes))], Problem::ContentDigest { .. });
    for name in ["evil", "skill2/a", "."] {
        let bytes = Tar::new().file(name, "x").end();
        let layers = vec![(directory(None), bytes)];
        assert_refused!(name, layers, Problem::OutsideTitle { .. } | Problem::Root { .. });
    }
    let bytes = Tar::new().file("skill/a", "x").link("skill/b", "other").end();
    let layers = vec![(directory(None), bytes)];
    assert_refused!("M27 link", layers, Problem::OutsideTitle { .. });
}

#[test]
fn broken_archives() {
    let whole = Tar::new().file("a", "content").end();
    for length in [1, 511, 513, 518] {
        let cut = vec![(tar_layer(), whole[..length].to_vec())];
        assert_refused!("O17 cut", cut, Problem::Truncated { .. });
    }
    let mut lone = Tar::new().file("a", "1").0;
    lone.extend_from_slice(&[0; 512]);
    let lone = Tar(lone).file("b", "2");
    assert_refused!("lone zero block", tar(lone), Problem::Tar { .. });
    assert_refused!("text", vec![(tar_layer(), vec![b'x'; 2048])], Problem::Tar { .. });
    let noise = [whole.clone(), vec![1; (1 << 20) + 1]].concat();
    assert_refused!("trailing", vec![(tar_layer(), noise)], Problem::Trailing(_));
    let content = Tar::new()
        .header(&Header { name: b"d", kind: b'5', size: 512, ..Header::default() })
        .body(&[1; 512]);
    assert_refused!("directory with content", tar(content), Problem::Tar { .. });
    let metadata = Tar::new().extension(b'L', &vec![b'x'; 2 << 20]).file("a", "x");
    assert_refused!("2 MiB name", tar(metadata), Problem::Tar { .. });
    // The sizes of two headers that overflow when they are added.
    let mut huge = Tar::new().extension(b'L', &[b'x'; 2000]);
    let at = huge.0.len();
    huge = huge.extension(b'K', b"y");
    huge.0[at + 124..at + 136]
        .copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc, 0]);
    huge.0[at + 148..at + 156].fill(b' ');
    let sum: u32 = huge.0[at..at + 512].iter().copied().map(u32::from).sum();
    huge.0[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_refused!("overflow", tar(huge.file("a", "x")), Problem::Tar { .. });
    let unknown = |bytes: &[u8]| vec![(Action::Unknown, bytes.to_vec())];
    for bytes in [&b""[..], b"PK\x03\x04zip", b"{}", b"---\n\xff", b"plain"] {
        assert_refused!("unknown", unknown(bytes), Problem::Unknown(_));
    }
}
