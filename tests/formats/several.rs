//! Rows M19 and M20: names of several skills, and names that are none.

use crate::fixtures::{MD, archive, image, pointers, small, text};
use crate::harness::{Lab, Row, row};
use crate::support::Tar;
use crate::support::artifacts::{self, MANIFEST};

fn named(lab: &Lab, name: &str) -> String {
    image(lab, text(&format!("---\nname: {name}\ndescription: Does x.\n---\n")))
}

fn folders(lab: &Lab, folders: &[&str]) -> String {
    let tar = folders
        .iter()
        .fold(Tar::new(), |tar, folder| tar.file(&format!("{folder}/SKILL.md"), MD, 0o644));
    archive(lab, tar)
}

/// A collection index of two skills in this repository under these names.
fn index(lab: &Lab, names: [&str; 2]) -> String {
    let r = &lab.registry;
    let child = |(number, name): (usize, &str)| {
        let own = format!("acme/{number}");
        artifacts::salaboy(r, &own, "1", &small(&format!("skill-{number}")));
        (name.to_owned(), r.reference(&own, "1"), own)
    };
    let children: Vec<_> = names.into_iter().enumerate().map(child).collect();
    let digests: Vec<_> = children
        .iter()
        .map(|(_, _, own)| skillmount::reference::Digest::sha256(&r.manifest(own, "1").unwrap()))
        .collect();
    let listed: Vec<_> = children
        .iter()
        .zip(&digests)
        .map(|((name, reference, _), digest)| (name.as_str(), reference.as_str(), digest))
        .collect();
    artifacts::agentskills_pointers(r, "acme/x", "1", &listed);
    lab.at("acme/x")
}

pub fn rows() -> Vec<Row> {
    vec![
        row("M19 YAML", |lab| pointers(lab, &[("a", "h.io/a:1"), ("a", "h.io/b:1")])),
        row("M19 YAML case", |lab| pointers(lab, &[("a", "h.io/a:1"), ("A", "h.io/b:1")])),
        row("M19 folders case", |lab| folders(lab, &["a", "A"])),
        row("M19 index", |lab| index(lab, ["a", "a"])),
        row("M19 index case", |lab| index(lab, ["a", "A"])),
        row("M20 ..", |lab| named(lab, "\"..\"")),
        row("M20 .git", |lab| named(lab, ".git")),
        row("M20 a/b", |lab| named(lab, "a/b")),
        row("M20 300", |lab| named(lab, &"n".repeat(300))),
        row("M20 -x", |lab| named(lab, "\"-x\"")),
        row("M20 folders", |lab| folders(lab, &[".git", "-x", "a"])),
        row("M20 YAML ..", |lab| pointers(lab, &[("..", "h.io/a:1")])),
        row("M20 index", |lab| index(lab, ["../evil", "b"])),
        row("M20 nothing else", |lab| {
            let mut document = artifacts::image_document(
                &lab.registry,
                "amd64",
                &[artifacts::Layer::gzip(text("---\nname: ..\n---\n").build())],
            );
            document["mediaType"] = MANIFEST.into();
            let repository = format!("acme/{}", "n".repeat(130));
            lab.registry.push_manifest(&repository, "1", &document);
            lab.at(&repository)
        }),
    ]
}
