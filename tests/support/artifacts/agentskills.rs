//! F2 and F3: the Agent Skills OCI draft as its clients write it, and its neighbours.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use skillmount::reference::Digest;

use super::super::content::Descriptor;
use super::super::registry::Registry;
use super::super::skills::Skill;
use super::{
    INDEX, Layer, MANIFEST, SKILL, TITLE, artifact, blob, index, skill_annotations, skill_config,
    with_annotations,
};

const SKILL_CONFIG: &str = "application/vnd.agentskills.skill.config.v1+json";
const CONTENT: &str = "application/vnd.agentskills.skill.content.v1.tar+gzip";
const COLLECTION: &str = "application/vnd.agentskills.collection.v1";

fn content(tar: Vec<u8>) -> Layer {
    Layer::gzip(tar).media_type(CONTENT)
}

fn document(registry: &Registry, skill: &Skill) -> Value {
    let config = blob(registry, SKILL_CONFIG, skill_config(skill));
    let layers = vec![content(skill.tar_below_name().build()).push(registry)];
    with_annotations(artifact(SKILL, config, layers), skill_annotations(skill))
}

/// F2 as salaboy/skills-oci writes it: no title on the layer.
pub fn salaboy(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    registry.push_manifest(repo, tag, &document(registry, skill))
}

/// F2 as arconia writes it: the config inline, and a temporary file's name as the layer's title.
pub fn arconia(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    let mut document = document(registry, skill);
    document["config"]["data"] = STANDARD.encode(skill_config(skill)).into();
    document["layers"][0]["annotations"] = json!({TITLE: format!("{}-8123.tar.gz", skill.name)});
    registry.push_manifest(repo, tag, &document)
}

/// F2 with another `schemaVersion` in the config: clients must refuse what they do not know.
pub fn agentskills_config(
    registry: &Registry,
    repo: &str,
    tag: &str,
    skill: &Skill,
    config: &[u8],
) -> Digest {
    let mut document = document(registry, skill);
    document["config"] = blob(registry, SKILL_CONFIG, config);
    registry.push_manifest(repo, tag, &document)
}

/// Where a collection's children are, and how it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Children {
    /// In the collection's own repository, as intropy copies them; the reference is there too.
    SameRepository,
    /// In repositories of their own, under `org.opencontainers.image.ref.name` (salaboy).
    RefName,
    /// In repositories of their own, under `io.agentskills.skill.ref`, with size 0 (arconia).
    SkillRef,
}

/// F2: a collection index. Children elsewhere are pushed to `<parent of repo>/<skill>:<version>`.
pub fn agentskills_collection(
    registry: &Registry,
    repo: &str,
    tag: &str,
    skills: &[Skill],
    children: Children,
) -> Digest {
    let parent = repo.rsplit_once('/').map_or(String::new(), |(parent, _)| format!("{parent}/"));
    let child = |skill: &Skill| {
        let own = format!("{parent}{}", skill.name);
        let body = document(registry, skill);
        let pushed = match children {
            Children::SameRepository => registry.push_document(repo, None, &body),
            _ => registry.push_document(&own, Some(&skill.version), &body),
        };
        let key = match children {
            Children::RefName => "org.opencontainers.image.ref.name",
            _ => "io.agentskills.skill.ref",
        };
        let annotations = json!({
            "io.agentskills.skill.name": skill.name,
            "org.opencontainers.image.version": skill.version,
            "org.opencontainers.image.title": skill.name,
            key: registry.reference(&own, &skill.version),
        });
        let mut descriptor = pushed.annotated(MANIFEST, annotations);
        descriptor["artifactType"] = SKILL.into();
        if children == Children::SkillRef {
            descriptor["size"] = 0.into();
        }
        descriptor
    };
    let mut document = index(skills.iter().map(child).collect());
    document["artifactType"] = COLLECTION.into();
    let annotations = json!({
        "io.agentskills.collection.name": "team",
        "org.opencontainers.image.version": "1.0.0",
    });
    registry.push_manifest(repo, tag, &with_annotations(document, annotations))
}

/// A collection that lists a child under any name and reference: for those that must not be
/// followed.
pub fn agentskills_pointers(
    registry: &Registry,
    repo: &str,
    tag: &str,
    children: &[(&str, &str, &Digest)],
) -> Digest {
    let child = |(name, reference, digest): &(&str, &str, &Digest)| {
        let pointer = Descriptor { digest: (*digest).clone(), size: 0 };
        let annotations =
            json!({"io.agentskills.skill.name": name, "io.agentskills.skill.ref": reference});
        let mut descriptor = pointer.annotated(MANIFEST, annotations);
        descriptor["artifactType"] = SKILL.into();
        descriptor
    };
    let mut document = index(children.iter().map(child).collect());
    document["artifactType"] = COLLECTION.into();
    registry.push_manifest(repo, tag, &document)
}

/// F3: docsclaw, one raw layer per file, with a title on the config as well.
pub fn docsclaw(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    let config = registry.push_blob(skill_config(skill));
    let config = config.annotated(SKILL_CONFIG, json!({TITLE: "config.json"}));
    let layer = |path: &str, bytes: &[u8]| {
        let annotations = json!({TITLE: path});
        registry.push_blob(bytes.to_vec()).annotated("application/octet-stream", annotations)
    };
    let layers = skill.files.iter().map(|(path, file)| layer(path, &file.content)).collect();
    let document = artifact(SKILL, config, layers);
    registry.push_manifest(repo, tag, &with_annotations(document, skill_annotations(skill)))
}

/// A bare SKILL.md as the only layer, without a title (samyn92).
pub fn bare_skill_md(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    let config = blob(registry, SKILL_CONFIG, skill_config(skill));
    let text = skill.files["SKILL.md"].content.clone();
    let layers = vec![blob(registry, "text/markdown", text)];
    let document = artifact(SKILL, config, layers);
    registry.push_manifest(repo, tag, &with_annotations(document, skill_annotations(skill)))
}

/// Cumasach: F2's layer type without F2's top folder, and files of its own in `.skill/`.
pub fn cumasach(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    let config_type = "application/vnd.agentskills.config.v1+json";
    let config = blob(registry, config_type, skill_config(skill));
    let packed = skill.clone().file(".skill/manifest.json", "{}", 0o644);
    let title = json!({TITLE: format!("{}-{}.tgz", skill.name, skill.version)});
    let layers = vec![content(packed.tar().build()).annotations(title).push(registry)];
    registry.push_manifest(repo, tag, &artifact(SKILL, config, layers))
}

/// An index whose child is an index: never to be followed.
pub fn nested_index(registry: &Registry, repo: &str, tag: &str) -> Digest {
    let inner = registry.push_document(repo, None, &index(vec![]));
    registry.push_manifest(repo, tag, &index(vec![inner.json(INDEX)]))
}
