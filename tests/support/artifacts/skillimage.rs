//! F1: skillimage, in its profiles, its collection and its historic bundle.

use serde_json::{Value, json};
use skillmount::reference::Digest;

use super::super::registry::Registry;
use super::super::skills::Skill;
use super::{
    CONFIG, CREATED, Layer, artifact, blob, empty_config, image_config, manifest, with_annotations,
};

const REDHAT_CONFIG: &str = "application/vnd.redhat.agentskill.config.v1+json";
const REDHAT_LAYER: &str = "application/vnd.redhat.agentskill.layer.v1.tar+gzip";
const OLD_LAYER: &str = "application/vnd.redhat.agentskill.layer.v1+tar";
const COLLECTION: &str = "application/vnd.skillimage.collection.v1+yaml";

/// F1a: the standard profile, a plain image with the skill at its root.
pub fn skillimage(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    skillimage_status(registry, repo, tag, skill, "published")
}

/// F1a with a lifecycle status. A promotion changes the manifest, and no layer.
pub fn skillimage_status(
    registry: &Registry,
    repo: &str,
    tag: &str,
    skill: &Skill,
    status: &str,
) -> Digest {
    profile(registry, repo, tag, skill, status, CONFIG, super::LAYER)
}

/// F1b: the redhat profile, the same bytes under types of its own.
pub fn skillimage_redhat(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    profile(registry, repo, tag, skill, "published", REDHAT_CONFIG, REDHAT_LAYER)
}

/// F1b as it was: a type that says tar over bytes that are gzip.
pub fn skillimage_old(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    profile(registry, repo, tag, skill, "published", REDHAT_CONFIG, OLD_LAYER)
}

fn profile(
    registry: &Registry,
    repo: &str,
    tag: &str,
    skill: &Skill,
    status: &str,
    config_type: &str,
    layer_type: &str,
) -> Digest {
    let layers = [Layer::gzip(skill.tar().build()).media_type(layer_type)];
    let config = blob(registry, config_type, image_config("amd64", &layers).to_string());
    let document = manifest(config, layers.iter().map(|layer| layer.push(registry)).collect());
    let annotations = annotations(skill, status);
    registry.push_manifest(repo, tag, &with_annotations(document, annotations))
}

/// The title is for people: it is never the name of a directory.
fn annotations(skill: &Skill, status: &str) -> Value {
    let words = skill.name.split('-').map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().to_string() + letters.as_str())
    });
    json!({
        "org.opencontainers.image.title": words.flatten().collect::<Vec<_>>().join(" "),
        "org.opencontainers.image.description": skill.description,
        "org.opencontainers.image.version": skill.version,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.vendor": "acme",
        "org.opencontainers.image.created": CREATED,
        "io.skillimage.status": status,
        "io.skillimage.wordcount": "6",
        "io.skillimage.tags": "[\"review\"]",
    })
}

/// F1c: a collection, YAML that points at images: `(name, reference)`.
pub fn skillimage_collection(
    registry: &Registry,
    repo: &str,
    tag: &str,
    skills: &[(&str, &str)],
) -> Digest {
    let mut yaml = String::from(
        "apiVersion: skillimage.io/v1alpha1\nkind: SkillCollection\n\
         metadata: {name: team, version: 1.0.0, description: Team skills}\nskills:\n",
    );
    for (name, image) in skills {
        yaml.push_str(&format!("  - name: {name}\n    image: {image}\n"));
    }
    skillimage_collection_yaml(registry, repo, tag, &yaml)
}

/// F1c with any YAML.
pub fn skillimage_collection_yaml(
    registry: &Registry,
    repo: &str,
    tag: &str,
    yaml: &str,
) -> Digest {
    let layers = vec![blob(registry, COLLECTION, yaml)];
    let annotations = json!({
        "org.opencontainers.image.title": "team",
        "org.opencontainers.image.version": "1.0.0",
        "org.opencontainers.image.description": "Team skills",
        "org.opencontainers.image.created": CREATED,
        "io.skillimage.collection.name": "team",
    });
    let document = artifact(COLLECTION, empty_config(registry), layers);
    registry.push_manifest(repo, tag, &with_annotations(document, annotations))
}

/// F1d: the historic bundle, several skills in one image.
pub fn skillimage_bundle(registry: &Registry, repo: &str, tag: &str, skills: &[Skill]) -> Digest {
    let layers = [Layer::gzip(super::several(skills).build())];
    let config = blob(registry, CONFIG, image_config("amd64", &layers).to_string());
    let document = manifest(config, layers.iter().map(|layer| layer.push(registry)).collect());
    let names: Vec<&str> = skills.iter().map(|skill| skill.name.as_str()).collect();
    let annotations = json!({
        "io.skillimage.bundle": "true",
        "io.skillimage.bundle.skills": json!(names).to_string(),
        "org.opencontainers.image.title": "team",
        "org.opencontainers.image.vendor": "acme",
        "org.opencontainers.image.created": CREATED,
    });
    registry.push_manifest(repo, tag, &with_annotations(document, annotations))
}
