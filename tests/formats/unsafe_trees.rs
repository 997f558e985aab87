//! M01 to M09, M14 to M16: archives and titles that want out, or mean two things.

use crate::fixtures::{MD, archive, good, image, titled, two};
use crate::harness::{Lab, Row, row};
use crate::support::Tar;
use crate::support::artifacts::{self, oras_layer};
use crate::support::blobs::Entry;

fn name(lab: &Lab, name: &str) -> String {
    image(lab, good().file(name, "x", 0o644))
}

fn absolute(lab: &Lab) -> String {
    image(lab, Tar::new().file("/SKILL.md", MD, 0o644).file("//etc/passwd", "x", 0o644))
}

fn title(lab: &Lab, title: &str) -> String {
    titled(lab, &[("SKILL.md", MD.as_bytes()), (title, b"x")])
}

fn hard(lab: &Lab, target: &str) -> String {
    let tar = good().symlink("link", "SKILL.md").hardlink("h", target);
    image(lab, tar.file("later", "x", 0o644))
}

/// A directory packed by ORAS with a link that leads out, and a second layer below that link.
fn through_title(lab: &Lab, second: artifacts::Layer) -> String {
    let link = Tar::new().dir("x").file("x/SKILL.md", MD, 0o644);
    let link = oras_layer("x", link.symlink("x/out", lab.outside().to_str().unwrap()));
    artifacts::oras_layers(&lab.registry, "acme/x", "1", &[link, second]);
    lab.at("acme/x")
}

fn whiteout(lab: &Lab, name: &str) -> String {
    two(lab, good().file("d/a", "x", 0o644), Tar::new().file(name, "", 0o644))
}

fn similar(lab: &Lab) -> String {
    image(lab, good().file("skill.MD", "other", 0o644))
}

fn backslash(lab: &Lab) -> String {
    name(lab, "a\\b")
}

fn reversed(lab: &Lab) -> String {
    name(lab, "a\u{202e}dm.b")
}

pub fn rows() -> Vec<Row> {
    vec![
        row("M01 ../", |lab| name(lab, "../evil")),
        row("M01 inner", |lab| name(lab, "a/../../evil")),
        row("M01 ..", |lab| name(lab, "..")),
        row("M02 lenient", absolute),
        row("M02 strict", absolute).strict(),
        row("M03 absolute", |lab| image(lab, good().symlink("l", "/etc/passwd"))),
        row("M03 escaping", |lab| image(lab, good().symlink("l", "../../etc"))),
        row("M03 chain", |lab| {
            image(lab, good().dir("d").symlink("d/l", "../m").symlink("m", "d/../../x"))
        }),
        row("M03 other skill", |lab| {
            let tar = Tar::new().file("a/SKILL.md", MD, 0o644).file("b/SKILL.md", MD, 0o644);
            image(lab, tar.symlink("a/l", "../b/SKILL.md"))
        }),
        row("M03 circle", |lab| image(lab, good().symlink("a", "b").symlink("b", "a"))),
        row("M03 directory", |lab| image(lab, good().dir("d").symlink("l", "d"))),
        row("M03 dangling", |lab| image(lab, good().symlink("l", "nothing"))),
        row("M04 one layer", |lab| {
            let out = lab.outside();
            let tar = good().symlink("w", out.to_str().unwrap());
            image(lab, tar.file("w/evil.txt", "x", 0o644))
        }),
        row("M04 two layers", |lab| {
            let lower = good().symlink("w", lab.outside().to_str().unwrap());
            two(lab, lower, Tar::new().file("w/evil.txt", "x", 0o644))
        }),
        row("M05 escaping", |lab| hard(lab, "../../etc/passwd")),
        row("M05 absolute", |lab| hard(lab, "/etc/passwd")),
        row("M05 symlink", |lab| hard(lab, "link")),
        row("M05 later", |lab| hard(lab, "later")),
        row("M06 fifo", |lab| image(lab, good().fifo("p"))),
        row("M06 char", |lab| image(lab, good().device("null", b'3', 1, 3))),
        row("M06 block", |lab| image(lab, good().device("sda", b'4', 8, 0))),
        // tar has no sockets: Solaris' type for one.
        row("M06 socket", |lab| image(lab, good().entry(Entry::new("s", b's', 0o644)))),
        row("M07", |lab| {
            let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
            let tar = good()
                .file("setuid", "x", 0o4755)
                .file("setgid", "x", 0o2755)
                .dir_mode("sticky", 0o1777)
                .pax(&[("SCHILY.xattr.security.capability", capability.as_slice())])
                .file("capable", "x", 0o755);
            image(lab, tar)
        })
        .check(|_, outcome| {
            let path = outcome.directories[0].join("capable");
            let mut value = [0u8; 64];
            let found = rustix::fs::lgetxattr(&path, "security.capability", &mut value);
            assert!(found.is_err(), "{found:?}");
        }),
        row("M08 ../", |lab| title(lab, "../../etc/cron.d/x")),
        row("M08 absolute", |lab| title(lab, "/etc/x")),
        row("M08 inner", |lab| title(lab, "a/../../b")),
        row("M08 empty", |lab| title(lab, "")),
        row("M08 .", |lab| title(lab, ".")),
        row("M08 NUL", |lab| title(lab, "a\0b")),
        row("M08 newline", |lab| title(lab, "a\nb")),
        row("M09 directory", |lab| {
            let evil = Tar::new().file("x/out/evil", "x", 0o644);
            through_title(lab, oras_layer("x/out", evil))
        }),
        row("M09 file", |lab| {
            let evil = artifacts::Layer::plain(b"x".to_vec());
            let title = serde_json::json!({artifacts::TITLE: "x/out/evil"});
            through_title(lab, evil.annotations(title))
        }),
        row("M14 duplicate", |lab| {
            image(lab, good().file("a", "one", 0o644).file("./a", "two", 0o644))
        }),
        row("M14 equal", |lab| {
            image(lab, good().file("a", "one", 0o644).file("./a", "one", 0o644))
        }),
        row("M14 case", similar),
        row("M14 case strict", similar).strict(),
        row("M14 file then dir", |lab| image(lab, good().file("a", "", 0o644).dir("a"))),
        row("M14 two layers", |lab| {
            two(lab, good().file("a", "", 0o644), Tar::new().file("a/b", "x", 0o644))
        }),
        row("M15 same layer", |lab| image(lab, good().file(".wh.SKILL.md", "", 0o644))),
        row("M15 same layer, first", |lab| {
            image(lab, Tar::new().file(".wh.SKILL.md", "", 0o644).file("SKILL.md", MD, 0o644))
        }),
        row("M15 .wh...", |lab| whiteout(lab, "d/.wh...")),
        row("M15 .wh..", |lab| whiteout(lab, ".wh..")),
        row("M15 .wh.", |lab| whiteout(lab, ".wh.")),
        row("M15 no image", |lab| archive(lab, good().file("d/.wh.a", "", 0o644))),
        row("M16 newline", |lab| name(lab, "a\nb")),
        row("M16 ESC", |lab| name(lab, "a\u{1b}[2Jb")),
        row("M16 backslash", backslash),
        row("M16 backslash strict", backslash).strict(),
        row("M16 reversed", reversed),
        row("M16 reversed in an error", |lab| image(lab, good().fifo("a\u{202e}dm.b"))),
    ]
}
