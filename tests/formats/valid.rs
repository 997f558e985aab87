//! V01 to V30: what the producers write.

use skillmount::reference::Digest;

use crate::fixtures::{archive, document, good, image, small};
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
        row("V01", |lab| one(lab, artifacts::skillimage)),
        row("V02 redhat", |lab| one(lab, artifacts::skillimage_redhat)),
        row("V03", |lab| one(lab, artifacts::skillimage_old)),
        row("V04", |lab| {
            let first = artifacts::skillimage(&lab.registry, "acme/a", "1", &code_review());
            artifacts::skillimage(&lab.other, "acme/b", "1", &docs_writer());
            let first = format!("{}/acme/a@{first}", lab.registry.host());
            let images = [
                ("code-review", first.as_str()),
                ("docs-writer", &lab.other.reference("acme/b", "1")),
            ];
            artifacts::skillimage_collection(&lab.registry, "acme/team", "1", &images);
            lab.at("acme/team")
        }),
        row("V05 nested", |lab| team(lab, artifacts::skillimage_bundle)),
        row("V05 flat", |lab| team(lab, artifacts::skillimage_bundle)).with(&[("layout", "flat")]),
        row("V06", |lab| one(lab, artifacts::salaboy)),
        row("V07", |lab| one(lab, artifacts::arconia)).check(|lab, _| {
            // The config stands in the manifest: nobody needs to ask for it.
            assert_eq!(lab.registry.count("GET", "/blobs/"), 2);
        }),
        row("V08", |lab| collection(lab, Children::SameRepository)),
        row("V09 ref.name", |lab| collection(lab, Children::RefName)),
        row("V09 size 0", |lab| collection(lab, Children::SkillRef)),
        row("V10", |lab| one(lab, artifacts::docsclaw)),
        row("V11", |lab| {
            artifacts::docsclaw(&lab.registry, "acme/x", "1", &small("x"));
            lab.at("acme/x")
        }),
        row("V12", |lab| one(lab, artifacts::oras_dir)).check(|_, outcome| {
            assert_eq!(outcome.file("REFERENCE-link.md"), b"# Ref\n");
        }),
        row("V13", |lab| one(lab, artifacts::oras_dot)),
        row("V14", |lab| team(lab, artifacts::oras_dirs)),
        row("V15", |lab| one(lab, artifacts::oras_files)),
        row("V16 amd64", |lab| one(lab, artifacts::toolhive)),
        row("V16 arm64", |lab| one(lab, artifacts::toolhive)).platform("arm64"),
        row("V16 s390x", |lab| one(lab, artifacts::toolhive)).platform("s390x"),
        row("V17", flux).with(&[("skills", "gitops-a")]),
        row("V17 flat", flux).with(&[("skills", "gitops-a"), ("layout", "flat")]),
        row("V17 unknown", flux).with(&[("skills", "gitops-c")]),
        row("V18", |lab| one(lab, artifacts::docker)),
        row("V18 list", |lab| one(lab, artifacts::docker_list)),
        row("V19", |lab| one(lab, artifacts::buildkit)),
        row("V20", |lab| one(lab, artifacts::docker_whiteouts)).check(|_, outcome| {
            assert_eq!(outcome.file("SKILL.md"), code_review().files["SKILL.md"].content);
        }),
        row("V21", |lab| one(lab, artifacts::alibaba)),
        // The two others that make kagent's init container wait for ever.
        row("V21 padded Flux", |lab| archive(lab, good().pad_to(10_240))),
        row("V21 padded redhat", |lab| {
            document(lab, |lab| {
                let layer = Layer::gzip(good().pad_to(10_240).build());
                let layer = layer.media_type("application/vnd.redhat.agentskill.layer.v1.tar+gzip");
                let kind = "application/vnd.redhat.agentskill.config.v1+json";
                artifacts::manifest(
                    artifacts::blob(&lab.registry, kind, "{}"),
                    vec![layer.push(&lab.registry)],
                )
            })
        }),
        row("V22", |lab| {
            let skill = code_review();
            artifacts::ramalama(&lab.registry, "acme/code-review", "1", &skill, "folder");
            lab.at("acme/code-review")
        }),
        row("V23", |lab| one(lab, artifacts::cumasach)),
        row("V24", |lab| one(lab, artifacts::modelpack)),
        row("V25 F12", |lab| plugins(lab, artifacts::agent_plugin)),
        row("V25 F5p", |lab| plugins(lab, artifacts::toolhive_plugin)),
        row("V26", |lab| {
            artifacts::lola(&lab.registry, "acme/lola", "1", &[small("x")]);
            lab.at("acme/lola")
        }),
        row("V27", |lab| {
            artifacts::skill_image(&lab.registry, "acme/x", "1", &small("x"), Layer::zstd);
            lab.at("acme/x")
        }),
        row("V30 lenient", colons),
        row("V30 strict", colons).strict(),
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
