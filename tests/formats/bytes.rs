//! M11 to M13, M18, M25 to M27: documents and blobs that are not what they say, or too much.

use serde_json::{Value, json};
use skillmount::reference::Digest;

use crate::fixtures::{MD, changed, claim, good, image, text};
use crate::harness::{Lab, Row, row};
use crate::support::artifacts::{self, INDEX, LAYER_TAR, Layer, MANIFEST};
use crate::support::{Fault, On, Tar};

/// The good image, whose layer goes wrong on its way.
fn fault(lab: &Lab, fault: Fault) -> String {
    let reference = image(lab, good().file("a", vec![b'a'; 4000], 0o644));
    lab.registry.fault(On::blob(&lab.registry.layers("acme/x", "1")[0]), fault);
    reference
}

/// A skill with the draft's config, whatever it is.
fn config(lab: &Lab, config: &[u8]) -> String {
    let skill = crate::fixtures::small("x");
    artifacts::agentskills_config(&lab.registry, "acme/x", "1", &skill, config);
    lab.at("acme/x")
}

fn change_config(lab: &Lab, change: impl Fn(&mut Value)) -> String {
    config(lab, br#"{"schemaVersion":"1","name":"x"}"#);
    let body = lab.registry.manifest("acme/x", "1").unwrap();
    let mut document: Value = serde_json::from_slice(&body).unwrap();
    change(&mut document["config"]);
    lab.registry.push_manifest("acme/x", "1", &document);
    lab.at("acme/x")
}

fn children(lab: &Lab, count: usize) -> String {
    let child = |number: usize| {
        let digest = Digest::sha256(number.to_string().as_bytes());
        json!({"mediaType": MANIFEST, "digest": digest.to_string(), "size": 2})
    };
    lab.registry.push_manifest("acme/x", "1", &artifacts::index((0..count).map(child).collect()));
    lab.at("acme/x")
}

fn yaml(lab: &Lab, yaml: &str) -> String {
    artifacts::skillimage_collection_yaml(&lab.registry, "acme/x", "1", yaml);
    lab.at("acme/x")
}

fn matter(lab: &Lab, matter: &str) -> String {
    image(lab, text(&format!("---\nname: x\ndescription: Does x.\n{matter}\n---\n")))
}

/// Text that does not compress below the limit of the ratio.
fn noise(length: usize) -> String {
    let mut state = 1u64;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + (state >> 60) as u8)
    };
    (0..length).map(letter).collect()
}

const LAUGHS: &str = "a: &a [lol, lol, lol]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nd: [*c, *c]";

fn laughs(lab: &Lab) -> String {
    matter(lab, LAUGHS)
}

pub fn rows() -> Vec<Row> {
    vec![
        row("M11 bytes", |lab| fault(lab, Fault::WrongBytes)),
        row("M11 size too small", |lab| {
            changed(lab, |document| claim(&mut document["layers"][0], 100))
        }),
        row("M11 size too large", |lab| {
            changed(lab, |document| claim(&mut document["layers"][0], 100_000))
        }),
        row("M11 truncated", |lab| {
            let reference = fault(lab, Fault::Body(vec![0x1f; 40].into()));
            let layer = &lab.registry.layers("acme/x", "1")[0];
            lab.registry.fault(On::blob(layer), Fault::IgnoreRange);
            reference
        }),
        // Cut off on the way, again and again: the rest is asked for.
        row("M11 interrupted", |lab| fault(lab, Fault::Truncate(40))),
        row("M11 extra", |lab| fault(lab, Fault::ExtraBytes(40))),
        row("M11 config", |lab| {
            let reference = image(lab, good());
            lab.registry.fault(On::get("/blobs/").after(0), Fault::WrongBytes);
            reference
        }),
        row("M11 diff_id", |lab| {
            let layer = Layer { diff_id: Digest::sha256(b"other"), ..Layer::gzip(good().build()) };
            crate::fixtures::layers(lab, &[layer])
        }),
        row("M12 digest", |lab| {
            let reference = image(lab, good());
            let digest = Digest::sha256(b"other").to_string();
            let header = Fault::SetHeader("docker-content-digest", digest);
            lab.registry.fault(On::get("/manifests/"), header);
            reference
        }),
        row("M12 by digest", |lab| {
            image(lab, good());
            let body = lab.registry.manifest("acme/x", "1").unwrap();
            lab.registry.fault(On::get("/manifests/"), Fault::WrongBytes);
            format!("{}/acme/x@{}", lab.registry.host(), Digest::sha256(&body))
        }),
        row("M12 Content-Type", |lab| {
            let reference = image(lab, good());
            lab.registry.fault(On::get("/manifests/"), Fault::ContentType(INDEX.into()));
            reference
        }),
        row("M12 both", |lab| changed(lab, |document| document["manifests"] = json!([]))),
        row("M13 nested", |lab| {
            artifacts::nested_index(&lab.registry, "acme/x", "1");
            lab.at("acme/x")
        }),
        row("M13 nested in disguise", |lab| {
            let inner = lab.registry.push_document("acme/x", None, &artifacts::index(vec![]));
            let mut child = inner.json(MANIFEST);
            child["platform"] = json!({"architecture": "amd64", "os": "linux"});
            lab.registry.push_manifest("acme/x", "1", &artifacts::index(vec![child]));
            lab.at("acme/x")
        }),
        row("M13 children", |lab| children(lab, 10_000)),
        row("M13 5 MiB", |lab| {
            let noise = "x".repeat(5 << 20);
            changed(lab, |document| document["annotations"] = json!({"noise": noise}))
        }),
        row("M13 1000 layers", |lab| {
            changed(lab, |document| {
                let layer = document["layers"][0].clone();
                document["layers"] = vec![layer; 1000].into();
            })
        }),
        row("M18 anchors", |lab| {
            yaml(lab, &format!("{LAUGHS}\nkind: SkillCollection\nskills: []\n"))
        }),
        row("M18 100 MiB", |lab| {
            let reference = yaml(lab, "kind: SkillCollection\nskills: []\n");
            let blob = &lab.registry.layers("acme/x", "1")[0];
            lab.registry.fault(On::blob(blob), Fault::HugeBody(100 << 20));
            reference
        }),
        row("M18 100 MiB claimed", |lab| {
            yaml(lab, "kind: SkillCollection\nskills: []\n");
            let body = lab.registry.manifest("acme/x", "1").unwrap();
            let mut document: Value = serde_json::from_slice(&body).unwrap();
            claim(&mut document["layers"][0], 100 << 20);
            lab.registry.push_manifest("acme/x", "1", &document);
            lab.registry.fault(On::get("/blobs/"), Fault::HugeBody(100 << 20));
            lab.at("acme/x")
        }),
        row("M25 10 MB", |lab| matter(lab, &format!("a: {}", noise(10 << 20)))),
        row("M25 2 MB", |lab| matter(lab, &format!("a: {}", noise(2 << 20)))),
        row("M25 100 kB", |lab| matter(lab, &format!("a: {}", "x".repeat(100 << 10)))),
        row("M25 nesting", |lab| matter(lab, &format!("a: {}", "[".repeat(20_000)))),
        row("M25 tags", |lab| matter(lab, "a: !!python/object/apply:os.system [\"true\"]")),
        row("M25 laughs", laughs),
        row("M25 laughs strict", laughs).strict(),
        row("M26 version", |lab| config(lab, br#"{"schemaVersion":"2","name":"x"}"#)),
        row("M26 no JSON", |lab| config(lab, b"name: x")),
        row("M26 100 MiB", |lab| {
            let reference = config(lab, b"{}");
            let digest = Digest::sha256(b"{}");
            lab.registry.fault(On::blob(digest), Fault::HugeBody(100 << 20));
            reference
        }),
        row("M26 100 MiB claimed", |lab| {
            lab.registry.fault(
                On::blob(Digest::sha256(br#"{"schemaVersion":"1","name":"x"}"#)),
                Fault::HugeBody(100 << 20),
            );
            change_config(lab, |config| claim(config, 100 << 20))
        }),
        row("M26 inline data of another digest", |lab| {
            change_config(lab, |config| config["data"] = "e30=".into())
        }),
        row("M27 digest", |lab| {
            let layer = artifacts::oras_layer("x", Tar::new().file("x/SKILL.md", MD, 0o644));
            let mut annotations = layer.annotations.clone().unwrap();
            annotations["io.deis.oras.content.digest"] =
                Digest::sha256(b"other").to_string().into();
            artifacts::oras_layers(&lab.registry, "acme/x", "1", &[layer.annotations(annotations)]);
            lab.at("acme/x")
        }),
        row("M27 outside", |lab| {
            let tar = Tar::new().file("x/SKILL.md", MD, 0o644).file("y/evil", "x", 0o644);
            let layer = artifacts::oras_layer("x", tar);
            artifacts::oras_layers(&lab.registry, "acme/x", "1", &[layer]);
            lab.at("acme/x")
        }),
        // What is told by its type alone and cannot be: a layer that says tar, is none, and has
        // no title that would make it a file.
        row("M11 no tar", |lab| {
            crate::fixtures::layers(lab, &[Layer::raw(LAYER_TAR, b"text".to_vec(), b"text")])
        }),
    ]
}
