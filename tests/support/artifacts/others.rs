//! What lies in registries and is no skill: every one of these must be refused by its type.

use serde_json::{Value, json};
use skillmount::reference::Digest;

use super::super::blobs::{Tar, gzip};
use super::super::content::Descriptor;
use super::super::registry::Registry;
use super::{CONFIG, Layer, MANIFEST, artifact, blob, empty_config, manifest};

/// A Helm chart.
pub fn helm_chart(registry: &Registry, repo: &str, tag: &str) -> Digest {
    let chart = Tar::new().file("chart/Chart.yaml", "name: chart\nversion: 1.0.0\n", 0o644);
    let config = blob(registry, "application/vnd.cncf.helm.config.v1+json", r#"{"name":"chart"}"#);
    let layer = blob(registry, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", chart.gzip());
    registry.push_manifest(repo, tag, &manifest(config, vec![layer]))
}

/// A cosign signature under its legacy tag, `sha256-<hex>.sig`, which is also returned.
pub fn cosign_signature(registry: &Registry, repo: &str, signed: &Digest) -> (String, Digest) {
    let tag = format!("sha256-{}.sig", signed.hex());
    let payload = json!({"critical": {"image": {"docker-manifest-digest": signed.to_string()}}});
    let payload = payload.to_string().into_bytes();
    let media_type = "application/vnd.dev.cosign.simplesigning.v1+json";
    let layer = Layer::raw(media_type, payload.clone(), &payload)
        .annotations(json!({"dev.cosignproject.cosign/signature": "MEUCIQ=="}));
    let layers = [layer];
    let config = super::image_config("", &layers).to_string();
    let document = manifest(
        blob(registry, CONFIG, config),
        layers.iter().map(|layer| layer.push(registry)).collect(),
    );
    let digest = registry.push_manifest(repo, &tag, &document);
    (tag, digest)
}

/// A sigstore bundle that refers to `signed`.
pub fn sigstore_bundle(registry: &Registry, repo: &str, tag: &str, signed: &Digest) -> Digest {
    let media_type = "application/vnd.dev.sigstore.bundle.v0.3+json";
    referrer(registry, repo, tag, media_type, b"{}".to_vec(), signed)
}

/// An SPDX document that refers to `subject`.
pub fn sbom(registry: &Registry, repo: &str, tag: &str, subject: &Digest) -> Digest {
    let document = br#"{"spdxVersion":"SPDX-2.3","name":"skill"}"#.to_vec();
    referrer(registry, repo, tag, "application/spdx+json", document, subject)
}

/// An in-toto attestation that refers to `subject`.
pub fn attestation(registry: &Registry, repo: &str, tag: &str, subject: &Digest) -> Digest {
    let document = statement(subject);
    referrer(registry, repo, tag, "application/vnd.in-toto+json", document, subject)
}

fn referrer(
    registry: &Registry,
    repo: &str,
    tag: &str,
    media_type: &str,
    body: Vec<u8>,
    subject: &Digest,
) -> Digest {
    let layer = blob(registry, media_type, body);
    let mut document: Value = artifact(media_type, empty_config(registry), vec![layer]);
    let size = registry.manifest(repo, &subject.to_string()).map_or(0, |body| body.len() as u64);
    document["subject"] = Descriptor { digest: subject.clone(), size }.json(MANIFEST);
    registry.push_manifest(repo, tag, &document)
}

/// An in-toto statement about a digest.
pub(super) fn statement(subject: &Digest) -> Vec<u8> {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": "https://slsa.dev/provenance/v0.2",
        "subject": [{"name": "skill", "digest": {"sha256": subject.hex()}}],
        "predicate": {},
    });
    statement.to_string().into_bytes()
}

/// A WebAssembly module.
pub fn wasm(registry: &Registry, repo: &str, tag: &str) -> Digest {
    let config = blob(registry, "application/vnd.wasm.config.v0+json", "{}");
    let layer = blob(registry, "application/wasm", *b"\0asm\x01\0\0\0");
    registry.push_manifest(repo, tag, &manifest(config, vec![layer]))
}

/// A manifest whose layer has URLs elsewhere: they are never to be fetched.
pub fn foreign_layer(registry: &Registry, repo: &str, tag: &str, url: &str) -> Digest {
    let tar = Tar::new().file("SKILL.md", "x", 0o644).build();
    let media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let layer = Layer::raw(media_type, gzip(&tar), &tar);
    let mut descriptor = layer.push(registry);
    descriptor["urls"] = json!([url]);
    let config = super::image_config("amd64", &[layer]).to_string();
    let document = manifest(blob(registry, CONFIG, config), vec![descriptor]);
    registry.push_manifest(repo, tag, &document)
}
