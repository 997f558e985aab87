//! M17, M21 to M24: who must not be asked, who must not see a credential, and what is no skill.

use serde_json::json;
use skillmount::reference::Digest;

use crate::fixtures::{changed, document, good, image, pointers, small};
use crate::harness::{Lab, Outcome, Row, reader, row};
use crate::support::artifacts::{self, LAYER, Layer};
use crate::support::{Auth, Bearer, Fault, On, Options, Realm};

/// Nobody asked the second host for anything.
fn alone(lab: &Lab, _: &Outcome) {
    assert_eq!(lab.other.lines(), [""; 0]);
}

/// The second host was asked, and shown nothing.
fn discreet(lab: &Lab, _: &Outcome) {
    let asked = lab.other.requests();
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|request| request.authorization.is_none()), "{asked:?}");
}

fn many(lab: &Lab, count: usize) -> String {
    let names: Vec<String> = (0..count).map(|number| format!("s{number}")).collect();
    let image = lab.other.reference("acme/a", "1");
    let images: Vec<_> = names.iter().map(|name| (name.as_str(), image.as_str())).collect();
    pointers(lab, &images)
}

fn itself(lab: &Lab) -> String {
    pointers(lab, &[("x", &lab.at("acme/x"))])
}

fn subject(lab: &Lab) -> Digest {
    artifacts::skillimage(&lab.registry, "acme/x", "skill", &small("x"))
}

/// The fixture of a referrer, or of something else, under the tag `1`.
fn other(lab: &Lab, push: impl Fn(&Lab, &Digest) -> Digest) -> String {
    push(lab, &subject(lab));
    lab.at("acme/x")
}

/// A manifest of a config and a layer of these types.
fn of_type(lab: &Lab, config: &'static str, layer: &'static str) -> String {
    let config = artifacts::blob(&lab.registry, config, "{}");
    let layer = artifacts::blob(&lab.registry, layer, "x");
    lab.registry.push_manifest("acme/x", "1", &artifacts::manifest(config, vec![layer]));
    lab.at("acme/x")
}

pub fn rows() -> Vec<Row> {
    let mut rows = crate::several::rows();
    rows.extend([
        row("M17 itself", itself),
        row("M17 10 000", |lab| many(lab, 10_000)).check(alone),
        row("M17 101", |lab| many(lab, 101)).check(alone),
        row("M17 metadata service", |lab| {
            pointers(lab, &[("x", "http://169.254.169.254/latest/meta-data")])
        })
        .check(alone),
        row("M17 other registry", |lab| {
            lab.other.fault(On::get("/v2/"), Fault::status(401));
            pointers(lab, &[("x", &lab.other.reference("acme/a", "1"))])
        })
        .registry(|_| Options::basic([reader()]))
        .login()
        .check(discreet),
        row("M17 other registry, index", |lab| {
            let digest = Digest::sha256(b"gone");
            let reference = lab.other.reference("acme/a", "1");
            let children = [("x", reference.as_str(), &digest)];
            artifacts::agentskills_pointers(&lab.registry, "acme/x", "1", &children);
            lab.at("acme/x")
        })
        .registry(|_| Options::basic([reader()]))
        .login()
        .check(discreet),
        row("M21 foreign", |lab| {
            let url = format!("http://{}/secret", lab.other.host());
            artifacts::foreign_layer(&lab.registry, "acme/x", "1", &url);
            lab.at("acme/x")
        })
        .check(alone),
        row("M21 urls", |lab| {
            let url = format!("http://{}/secret", lab.other.host());
            let reference = changed(lab, |document| document["layers"][0]["urls"] = json!([url]));
            lab.registry.remove_blob(&lab.registry.layers("acme/x", "1")[0]);
            reference
        })
        .check(alone),
        row("M22 cosign", |lab| {
            let signed = subject(lab);
            let (tag, _) = artifacts::cosign_signature(&lab.registry, "acme/x", &signed);
            lab.registry.reference("acme/x", &tag)
        }),
        row("M22 bundle", |lab| {
            other(lab, |lab, s| artifacts::sigstore_bundle(&lab.registry, "acme/x", "1", s))
        }),
        row("M22 SBOM", |lab| {
            other(lab, |lab, s| artifacts::sbom(&lab.registry, "acme/x", "1", s))
        }),
        row("M22 attestation", |lab| {
            other(lab, |lab, s| artifacts::attestation(&lab.registry, "acme/x", "1", s))
        }),
        row("M22 helm", |lab| {
            other(lab, |lab, _| artifacts::helm_chart(&lab.registry, "acme/x", "1"))
        }),
        row("M22 wasm", |lab| other(lab, |lab, _| artifacts::wasm(&lab.registry, "acme/x", "1"))),
        row("M22 CycloneDX", |lab| {
            of_type(lab, "application/vnd.oci.empty.v1+json", "application/vnd.cyclonedx+json")
        }),
        row("M22 Docker plugin", |lab| {
            of_type(lab, "application/vnd.docker.plugin.v1+json", LAYER)
        }),
        row("M22 model", |lab| {
            of_type(
                lab,
                "application/vnd.docker.ai.model.config.v0.1+json",
                "application/vnd.docker.ai.gguf.v3",
            )
        }),
        row("M22 Ollama", |lab| {
            of_type(
                lab,
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.ollama.image.model",
            )
        }),
        row("M22 weights", |lab| {
            document(lab, |lab| {
                let weights =
                    Layer::raw("application/vnd.cncf.model.weight.v1.raw", b"GGUF".to_vec(), b"");
                let weights = weights.annotations(json!({"org.cncf.model.filepath": "model.gguf"}));
                let kind = "application/vnd.cncf.model.config.v1+json";
                let config = artifacts::blob(&lab.registry, kind, "{}");
                artifacts::manifest(config, vec![weights.push(&lab.registry)])
            })
        }),
        row("M22 nothing", |lab| {
            other(lab, |lab, _| artifacts::no_layers(&lab.registry, "acme/x", "1"))
        }),
        row("M23", |lab| image(lab, good()))
            .registry(|other| {
                // By another name: at its own host a token service may be without TLS.
                let port = other.host().rsplit(':').next().unwrap().to_owned();
                let realm = Realm::At(format!("http://localhost:{port}/token"));
                Options::bearer([reader()], Bearer { realm, ..Bearer::default() })
            })
            .login()
            .check(alone),
        row("M23 another domain", |lab| image(lab, good()))
            .registry(|_| {
                let realm = Realm::At("http://registry.invalid/token".into());
                let bearer = Bearer { realm, ..Bearer::default() };
                Options { auth: Auth::Bearer(bearer), users: vec![reader()], ..Options::default() }
            })
            .login()
            .check(alone),
        row("M24", |lab| {
            let reference = image(lab, good());
            let layer = lab.registry.layers("acme/x", "1")[0].clone();
            let storage = Fault::RedirectTo(lab.registry.storage_url(&layer));
            lab.registry.fault(On::blob(&layer), storage);
            reference
        })
        .registry(|_| Options::basic([reader()]))
        .login()
        .check(|lab, _| {
            let asked = lab.registry.requests();
            let at = |host: String| asked.iter().filter(move |request| request.host == host);
            assert!(at(lab.registry.host()).any(|request| request.authorization.is_some()));
            assert_eq!(at(lab.registry.second_host()).count(), 2);
            assert!(at(lab.registry.second_host()).all(|r| r.authorization.is_none()));
        }),
    ]);
    rows
}
