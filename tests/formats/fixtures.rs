//! Shapes that several rows share.

use serde_json::{Value, json};

use crate::harness::Lab;
use crate::support::artifacts::{self, Layer};
use crate::support::{Skill, Tar};

/// A SKILL.md about which nothing is to be said.
pub const MD: &str = "---\nname: x\ndescription: Does x.\n---\n";

/// A skill `x` of a SKILL.md with this text.
pub fn text(text: &str) -> Tar {
    Tar::new().file("SKILL.md", text, 0o644)
}

/// An archive with a good SKILL.md.
pub fn good() -> Tar {
    text(MD)
}

/// A skill with a good SKILL.md and nothing else.
pub fn small(name: &str) -> Skill {
    Skill::new(name, "Does it.")
}

/// An image `acme/x` of one layer.
pub fn image(lab: &Lab, tar: Tar) -> String {
    layers(lab, &[Layer::gzip(tar.build())])
}

/// An image `acme/x` of these layers.
pub fn layers(lab: &Lab, layers: &[Layer]) -> String {
    artifacts::image(&lab.registry, "acme/x", "1", layers);
    lab.at("acme/x")
}

/// An image `acme/x` of two layers.
pub fn two(lab: &Lab, lower: Tar, upper: Tar) -> String {
    layers(lab, &[Layer::gzip(lower.build()), Layer::gzip(upper.build())])
}

/// An artifact `acme/x` that is one skill archive, in Flux's type.
pub fn archive(lab: &Lab, tar: Tar) -> String {
    const FLUX: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";
    document(lab, |lab| {
        let layer = Layer::gzip(tar.clone().build()).media_type(FLUX).push(&lab.registry);
        artifacts::manifest(artifacts::empty_config(&lab.registry), vec![layer])
    })
}

/// An ORAS artifact `acme/x` of raw files.
pub fn titled(lab: &Lab, files: &[(&str, &[u8])]) -> String {
    artifacts::oras_titled(&lab.registry, "acme/x", "1", files);
    lab.at("acme/x")
}

/// Any manifest as `acme/x`.
pub fn document(lab: &Lab, make: impl Fn(&Lab) -> Value) -> String {
    lab.registry.push_manifest("acme/x", "1", &make(lab));
    lab.at("acme/x")
}

/// The image `acme/x` of a good skill after a change to its manifest.
pub fn changed(lab: &Lab, change: impl Fn(&mut Value)) -> String {
    document(lab, |lab| {
        let layers = [Layer::gzip(good().build())];
        let mut document = artifacts::image_document(&lab.registry, "amd64", &layers);
        change(&mut document);
        document
    })
}

/// A skillimage collection `acme/x` of `(name, image)`.
pub fn pointers(lab: &Lab, images: &[(&str, &str)]) -> String {
    artifacts::skillimage_collection(&lab.registry, "acme/x", "1", images);
    lab.at("acme/x")
}

/// Annotations of a manifest.
pub fn annotated(lab: &Lab, annotations: &Value) -> String {
    changed(lab, |document| document["annotations"] = annotations.clone())
}

/// A descriptor's size, claimed.
pub fn claim(descriptor: &mut Value, size: u64) {
    descriptor["size"] = json!(size);
}
