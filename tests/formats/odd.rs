//! O01 to O21: what is odd, and mostly works.

use serde_json::json;

use crate::fixtures::{MD, annotated, archive, good, image, layers, small, text, titled};
use crate::harness::{Lab, Row, row};
use crate::support::artifacts::{self, LAYER, LAYER_TAR, Layer};
use crate::support::blobs::{Entry, gzip, gzip_members};
use crate::support::skills::code_review;
use crate::support::{Options, Tar};

fn raw(lab: &Lab, bytes: Vec<u8>) -> String {
    layers(lab, &[Layer::raw(LAYER, bytes, &good().build())])
}

fn unknown(lab: &Lab) -> String {
    artifacts::unknown(&lab.registry, "acme/x", "1", LAYER, good().gzip());
    lab.at("acme/x")
}

fn foreign_platforms(lab: &Lab, tars: &[(&str, Tar)]) -> String {
    let images: Vec<_> =
        tars.iter().map(|(name, tar)| (*name, vec![Layer::gzip(tar.clone().build())])).collect();
    artifacts::platforms(&lab.registry, "acme/x", "1", &images);
    lab.at("acme/x")
}

fn crlf(lab: &Lab) -> String {
    image(lab, text("---\r\nname: x\r\ndescription: Does x.\r\n---\r\n# X\r\n"))
}

fn bom(lab: &Lab) -> String {
    image(lab, text("\u{feff}---\nname: x\ndescription: Does x.\n---\n"))
}

fn dashes(lab: &Lab) -> String {
    image(lab, text("---\nname: x\ndescription: a --- b\n---\n"))
}

fn flow(lab: &Lab) -> String {
    image(lab, text("---\nname: x\ndescription: Does x.\nmetadata: {a: b}\n---\n"))
}

fn extra(lab: &Lab) -> String {
    image(lab, text("---\nname: x\ndescription: Does x.\nversion: 1.0.0\n---\n"))
}

fn colon(lab: &Lab) -> String {
    image(lab, text("---\nname: x\ndescription: Use when: x\n---\n"))
}

fn lower_case(lab: &Lab) -> String {
    image(lab, Tar::new().file("skill.md", MD, 0o644))
}

fn linked(lab: &Lab) -> String {
    image(lab, Tar::new().file("README.md", MD, 0o644).symlink("SKILL.md", "README.md"))
}

fn deep(lab: &Lab) -> String {
    image(lab, Tar::new().file("a/b/c/SKILL.md", MD, 0o644))
}

fn card(lab: &Lab, yaml: &str) -> String {
    image(lab, good().file("skill.yaml", yaml, 0o644))
}

fn status(lab: &Lab, status: &str) -> String {
    artifacts::skillimage_status(&lab.registry, "acme/x", "1", &small("x"), status);
    lab.at("acme/x")
}

fn deprecated(lab: &Lab) -> String {
    status(lab, "deprecated")
}

fn without_digest(lab: &Lab, repo: &str) -> String {
    artifacts::toolhive(&lab.registry, repo, "1", &code_review());
    lab.at(repo)
}

pub fn rows() -> Vec<Row> {
    vec![
        row("O01 plain as gzip", |lab| raw(lab, good().build())),
        row("O01 gzip as tar", |lab| {
            layers(lab, &[Layer::gzip(good().build()).media_type(LAYER_TAR)])
        }),
        row("O02 members", |lab| {
            let tar = good().build();
            raw(lab, gzip_members(&[&tar[..700], &tar[700..]]))
        }),
        row("O02 garbage", |lab| raw(lab, [good().gzip(), b"garbage".to_vec()].concat())),
        row("O03 lenient", unknown),
        row("O03 strict", unknown).strict(),
        row("O04", |lab| {
            artifacts::bare_skill_md(&lab.registry, "acme/x", "1", &small("x"));
            lab.at("acme/x")
        }),
        row("O05 amd64", |lab| image(lab, good())).platform("arm64"),
        row("O05 unknown", |lab| {
            let layers = [Layer::gzip(good().build())];
            let document = artifacts::image_document(&lab.registry, "unknown", &layers);
            lab.registry.push_manifest("acme/x", "1", &document);
            lab.at("acme/x")
        })
        .platform("arm64"),
        row("O06 one", |lab| foreign_platforms(lab, &[("arm64", good())])),
        row("O06 two", |lab| {
            foreign_platforms(lab, &[("arm64", good()), ("s390x", text("other"))])
        }),
        row("O07 CRLF", crlf).strict(),
        row("O07 BOM lenient", bom),
        row("O07 BOM strict", bom).strict(),
        row("O07 dashes", dashes).strict(),
        row("O07 flow", flow).strict(),
        row("O07 extra lenient", extra),
        row("O07 extra strict", extra).strict(),
        row("O07 colon lenient", colon),
        row("O07 colon strict", colon).strict(),
        row("O08 lenient", lower_case),
        row("O08 strict", lower_case).strict(),
        row("O09", linked).check(|_, outcome| {
            assert_eq!(outcome.file("SKILL.md"), MD.as_bytes());
        }),
        row("O10", |lab| {
            let entry = |path: &str, kind, mode| Entry::new(path, kind, mode).owner(12345, 54321);
            let tar = good()
                .entry(entry("dark", b'0', 0).content("x"))
                .entry(entry("mine", b'0', 0o600).content("x"))
                .entry(entry("tool", b'0', 0o700).content("x"))
                .entry(entry("closed/", b'5', 0))
                .entry(entry("private/", b'5', 0o700))
                .entry(entry("closed/x", b'0', 0).content("x"));
            image(lab, tar)
        }),
        row("O11", |lab| {
            let long = format!("{}/{}", "d".repeat(90), "f".repeat(90));
            let tar = good()
                .file(&long, "pax", 0o644)
                .gnu_long_name(&format!("{long}2"))
                .file("cut", "gnu", 0o644)
                .file(&"n".repeat(255), "255", 0o644)
                .file("übersicht/技能.md", "utf8", 0o644);
            image(lab, tar)
        }),
        row("O11 256", |lab| image(lab, good().file(&"n".repeat(256), "", 0o644))),
        row("O12 no directories", |lab| {
            artifacts::toolhive(&lab.registry, "acme/code-review", "1", &code_review());
            lab.at("acme/code-review")
        }),
        row("O12 directories late", |lab| {
            image(lab, good().file("a/b/c", "x", 0o644).dir("a/b").dir("a").dir("./"))
        }),
        row("O13", |lab| archive(lab, good().file("a", "bytes", 0o755).hardlink("d/b", "a")))
            .check(|_, outcome| assert_eq!(outcome.file("a"), outcome.file("d/b"))),
        row("O14 one", deep),
        row("O14 one strict", deep).strict(),
        row("O14 two", |lab| {
            let tar = Tar::new().file("a/b/SKILL.md", MD, 0o644);
            image(lab, tar.file("c/d/SKILL.md", MD, 0o644))
        }),
        row("O15", |lab| {
            titled(lab, &[("SKILL.md", MD.as_bytes()), ("a", b"same"), ("b/c", b"same")])
        }),
        row("O16", |lab| {
            let r = &lab.registry;
            artifacts::skillimage(r, "acme/x", "1", &small("other"));
            let digest = artifacts::skillimage(r, "acme/x", "2", &small("x"));
            format!("{}@{digest}", lab.at("acme/x"))
        })
        .check(|lab, _| assert_eq!(lab.registry.count("GET", "/manifests/1"), 0)),
        row("O17 no end", |lab| archive(lab, good().no_end_marker())),
        row("O17 padding", |lab| archive(lab, good().pad_to(20 << 20))),
        row("O17 image padding", |lab| image(lab, good().pad_to(20 << 20))),
        row("O17 cut", |lab| {
            let tar = good().file("a", "content", 0o644).build();
            raw(lab, gzip(&tar[..1024 + 512 + 3]))
        }),
        row("O18 docsclaw", |lab| {
            card(lab, "apiVersion: docsclaw.io/v1alpha1\nmetadata: {ref: y}\n")
        })
        .strict(),
        row("O18 garbage", |lab| card(lab, "\t{[\u{1}")).strict(),
        row("O19 draft", |lab| status(lab, "draft")),
        row("O19 deprecated", deprecated),
        row("O19 deprecated strict", deprecated).strict(),
        row("O19 archived", |lab| status(lab, "archived")),
        row("O19 final", |lab| status(lab, "final")),
        row("O20", |lab| {
            let title = json!({"org.opencontainers.image.title": "Code Review / all"});
            annotated(lab, &title)
        }),
        row("O20 no other name", |lab| {
            let layers = [Layer::gzip(text("---\ndescription: Does x.\n---\n").build())];
            let mut document = artifacts::image_document(&lab.registry, "amd64", &layers);
            document["annotations"] = json!({"org.opencontainers.image.title": "Code Review"});
            lab.registry.push_manifest("acme/skill-x", "1", &document);
            lab.at("acme/skill-x")
        })
        .with(&[("layout", "nested")]),
        row("O21", |lab| without_digest(lab, "acme/code-review"))
            .registry(|_| Options { content_digest: false, ..Options::default() }),
    ]
}
