//! V01 to V30: what the producers write.

use skillmount::reference::Digest;

use crate::fixtures::{image, small};
use crate::harness::{Lab, Row, row};
use crate::support::artifacts::{self, Children, Layer};
use crate::support::skills::{code_review, docs_writer};
use crate::support::{Options, Registry, Skill};

type Producer = fn(&Registry, &str, &str, &Skill) -> Digest;

fn one(lab: &Lab, producer: Producer) -> String {
    producer(&lab.registry, "acme/code-review", "1", &code_review());
    lab.at("acme/code-review")
}

fn team(lab: &Lab, producer: fn(&Registry, &str, &str, &[Skill]) -> Digest) -> String {
    producer(&lab.registry, "acme/team", "1", &[code_review(), docs_writer()]);
    lab.at("acme/team")
}

fn collection(lab: &Lab, children: Children) -> String {
    let skills = [code_review(), docs_writer()];
    artifacts::agentskills_collection(&lab.registry, "acme/team", "1", &skills, children);
    lab.at("acme/team")
}

fn flux(lab: &Lab) -> String {
    let skills = [small("gitops-a"), small("gitops-b")];
    artifacts::flux(&lab.registry, "acme/flux", "1", &skills);
    lab.at("acme/flux")
}

fn plugins(lab: &Lab, producer: fn(&Registry, &str, &str, &[Skill]) -> Digest) -> String {
    producer(&lab.registry, "acme/plugin", "1", &[small("a"), small("b")]);
    lab.at("acme/plugin")
}

fn colons(lab: &Lab) -> String {
    let skill = |name: &str| Skill::new(name, "Does it.");
    image(lab, artifacts::several(&[skill("skills:scan"), skill("skills:write")]))
}

pub fn rows() -> Vec<Row> {
    vec![
        row("V01", |lab| one(lab, artifacts::skillimage), r#"?"#),
        row("V02 redhat", |lab| one(lab, artifacts::skillimage_redhat), r#"?"#),
        row("V03", |lab| one(lab, artifacts::skillimage_old), r#"?"#),
        row(
            "V04",
            |lab| {
                let first = artifacts::skillimage(&lab.registry, "acme/a", "1", &code_review());
                artifacts::skillimage(&lab.other, "acme/b", "1", &docs_writer());
                let first = format!("{}/acme/a@{first}", lab.registry.host());
                let images = [
                    ("code-review", first.as_str()),
                    ("docs-writer", &lab.other.reference("acme/b", "1")),
                ];
                artifacts::skillimage_collection(&lab.registry, "acme/team", "1", &images);
                lab.at("acme/team")
            },
            r#"?"#,
        ),
        row("V05 nested", |lab| team(lab, artifacts::skillimage_bundle), r#"?"#),
        row("V05 flat", |lab| team(lab, artifacts::skillimage_bundle), r#"?"#)
            .with(&[("layout", "flat")]),
        row("V06", |lab| one(lab, artifacts::salaboy), r#"?"#),
        row("V07", |lab| one(lab, artifacts::arconia), r#"?"#).check(|lab, _| {
            // The config stands in the manifest: nobody needs to ask for it.
            assert_eq!(lab.registry.count("GET", "/blobs/"), 2);
        }),
        row("V08", |lab| collection(lab, Children::SameRepository), r#"?"#),
        row("V09 ref.name", |lab| collection(lab, Children::RefName), r#"?"#),
        row("V09 size 0", |lab| collection(lab, Children::SkillRef), r#"?"#),
        row("V10", |lab| one(lab, artifacts::docsclaw), r#"?"#),
        row(
            "V11",
            |lab| {
                artifacts::docsclaw(&lab.registry, "acme/x", "1", &small("x"));
                lab.at("acme/x")
            },
            r#"?"#,
        ),
        row("V12", |lab| one(lab, artifacts::oras_dir), r#"?"#).check(|_, outcome| {
            assert_eq!(outcome.file("REFERENCE-link.md"), b"# Ref\n");
        }),
        row("V13", |lab| one(lab, artifacts::oras_dot), r#"?"#),
        row("V14", |lab| team(lab, artifacts::oras_dirs), r#"?"#),
        row("V15", |lab| one(lab, artifacts::oras_files), r#"?"#),
        row("V16 amd64", |lab| one(lab, artifacts::toolhive), r#"?"#),
        row("V16 arm64", |lab| one(lab, artifacts::toolhive), r#"?"#).platform("arm64"),
        row("V16 s390x", |lab| one(lab, artifacts::toolhive), r#"?"#).platform("s390x"),
        row("V17", flux, r#"?"#).with(&[("skills", "gitops-a")]),
        row("V17 flat", flux, r#"?"#).with(&[("skills", "gitops-a"), ("layout", "flat")]),
        row("V17 unknown", flux, r#"?"#).with(&[("skills", "gitops-c")]),
        row("V18", |lab| one(lab, artifacts::docker), r#"?"#),
        row("V18 list", |lab| one(lab, artifacts::docker_list), r#"?"#),
        row("V19", |lab| one(lab, artifacts::buildkit), r#"?"#),
        row("V20", |lab| one(lab, artifacts::docker_whiteouts), r#"?"#).check(|_, outcome| {
            assert_eq!(outcome.file("SKILL.md"), code_review().files["SKILL.md"].content);
        }),
        row("V21", |lab| one(lab, artifacts::alibaba), r#"?"#),
        row(
            "V22",
            |lab| {
                let skill = code_review();
                artifacts::ramalama(&lab.registry, "acme/code-review", "1", &skill, "folder");
                lab.at("acme/code-review")
            },
            r#"?"#,
        ),
        row("V23", |lab| one(lab, artifacts::cumasach), r#"?"#),
        row("V24", |lab| one(lab, artifacts::modelpack), r#"?"#),
        row("V25 F12", |lab| plugins(lab, artifacts::agent_plugin), r#"?"#),
        row("V25 F5p", |lab| plugins(lab, artifacts::toolhive_plugin), r#"?"#),
        row(
            "V26",
            |lab| {
                artifacts::lola(&lab.registry, "acme/lola", "1", &[small("x")]);
                lab.at("acme/lola")
            },
            r#"?"#,
        ),
        row(
            "V27",
            |lab| {
                artifacts::skill_image(&lab.registry, "acme/x", "1", &small("x"), Layer::zstd);
                lab.at("acme/x")
            },
            r#"?"#,
        ),
        row("V30 lenient", colons, r#"?"#),
        row("V30 strict", colons, r#"?"#).strict(),
    ]
}

/// Profiles and promotions of one layer share one stored tree.
#[tokio::test]
async fn v02_and_v28_one_tree_for_one_layer() {
    let lab = Lab::new("amd64", |_| Options::default(), false);
    let (repo, skill) = ("acme/code-review", code_review());
    let r = &lab.registry;
    let draft = artifacts::skillimage_status(r, repo, "1.0.0-draft", &skill, "draft");
    let published = artifacts::skillimage_status(r, repo, "1.0.0", &skill, "published");
    artifacts::skillimage_redhat(r, repo, "redhat", &skill);
    assert_ne!(draft, published);
    let mut keys = Vec::new();
    for tag in ["1.0.0", "1.0.0-draft", "redhat"] {
        let outcome = lab.pull(&r.reference(repo, tag), &[]).await;
        assert_eq!(outcome.trees.len(), 1, "{tag}");
        keys.extend(outcome.trees);
    }
    keys.dedup();
    assert_eq!((keys.len(), lab.stored()), (1, 1));
    // Once for the store; `inspect` reads the layer each time.
    let layer = &r.layers(repo, "1.0.0")[0];
    assert_eq!(r.count("GET", &format!("/blobs/{layer}")), 1 + 3);
}

/// The size of the largest skills that are published: 300 files, 5 MB, 31 programs.
#[tokio::test]
async fn v29_a_large_skill() {
    let mut skill = Skill::new("large", &"d".repeat(1068));
    for number in 1..300u32 {
        let program = number <= 31;
        let path = format!("{}/{number:03}", if program { "scripts" } else { "assets" });
        let noise = (0..16_800u32).map(|at| (at.wrapping_mul(number * 7919) >> 7) as u8);
        skill = skill.file(&path, noise.collect::<Vec<_>>(), if program { 0o755 } else { 0o644 });
    }
    assert_eq!(skill.files.len(), 300);
    let lab = Lab::new("amd64", |_| Options::default(), false);
    artifacts::skillimage(&lab.registry, "acme/large", "1", &skill);
    let outcome = lab.pull(&lab.at("acme/large"), &[]).await;
    let warning = "SKILL.md: the description has 1068 characters, more than 1024 \
                   [agentskills.io: description]";
    let expected = format!(
        "skillimage single large\nwarning: {warning}\nflat\n{}\n",
        skill.listing().join("\n")
    );
    assert_eq!(outcome.text, expected);
    let outcome = lab.pull(&lab.at("acme/large"), &[("validation", "strict")]).await;
    let expected = format!("Artifact: looking for skills: strict validation found: {warning}\n");
    assert_eq!(outcome.text, expected);
}
