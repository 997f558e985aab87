//! F4: plain `oras push`, of directories and of files.

use serde_json::{Value, json};
use skillmount::reference::Digest;

use super::super::blobs::Tar;
use super::super::registry::Registry;
use super::super::skills::Skill;
use super::{LAYER, LAYER_TAR, Layer, SKILL, TITLE, artifact, with_annotations};

fn push(
    registry: &Registry,
    repo: &str,
    tag: &str,
    artifact_type: &str,
    layers: Vec<Value>,
) -> Digest {
    let mut config = super::empty_config(registry);
    config["data"] = "e30=".into();
    let created = json!({"org.opencontainers.image.created": super::CREATED});
    let document = with_annotations(artifact(artifact_type, config, layers), created);
    registry.push_manifest(repo, tag, &document)
}

/// One directory as `oras` packs it; entries of the archive lie below the title.
pub fn oras_layer(title: &str, tar: Tar) -> Layer {
    let tar = tar.build();
    let annotations = json!({
        "io.deis.oras.content.digest": Digest::sha256(&tar).to_string(),
        "io.deis.oras.content.unpack": "true",
        TITLE: title,
    });
    Layer::gzip(tar).media_type(LAYER).annotations(annotations)
}

/// `oras push REF --artifact-type … code-review`: a directory, with a link inside it.
pub fn oras_dir(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    let link = format!("{}/REFERENCE-link.md", skill.name);
    let target = match skill.files.contains_key("references/REFERENCE.md") {
        true => "references/REFERENCE.md",
        false => "SKILL.md",
    };
    let layer = oras_layer(&skill.name, skill.tar_below_name().symlink(&link, target));
    oras_layers(registry, repo, tag, &[layer])
}

/// `oras push REF .` inside the skill: the title is `.`.
pub fn oras_dot(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    oras_layers(registry, repo, tag, &[oras_layer(".", skill.tar())])
}

/// `oras push REF a b`: a layer for each of the directories.
pub fn oras_dirs(registry: &Registry, repo: &str, tag: &str, skills: &[Skill]) -> Digest {
    let layers = skills.iter().map(|skill| oras_layer(&skill.name, skill.tar_below_name()));
    oras_layers(registry, repo, tag, &layers.collect::<Vec<_>>())
}

/// Any layers in the manifest that oras writes.
pub fn oras_layers(registry: &Registry, repo: &str, tag: &str, layers: &[Layer]) -> Digest {
    let layers = layers.iter().map(|layer| layer.push(registry)).collect();
    push(registry, repo, tag, SKILL, layers)
}

/// `oras push REF SKILL.md scripts/run.sh …`: raw files under a type that says tar.
pub fn oras_files(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    let files: Vec<(&str, &[u8])> =
        skill.files.iter().map(|(path, file)| (path.as_str(), file.content.as_slice())).collect();
    oras_titled(registry, repo, tag, &files)
}

/// The same for any titles, as hostile as they may be.
pub fn oras_titled(registry: &Registry, repo: &str, tag: &str, files: &[(&str, &[u8])]) -> Digest {
    let layer = |(title, bytes): &(&str, &[u8])| {
        registry.push_blob(bytes.to_vec()).annotated(LAYER_TAR, json!({TITLE: title}))
    };
    let layers = files.iter().map(layer).collect();
    push(registry, repo, tag, "application/vnd.unknown.artifact.v1", layers)
}
