//! F6, F8, F10, F11, F13: formats with one producer each.

use serde_json::json;
use skillmount::reference::Digest;

use super::super::blobs::{Tar, gzip};
use super::super::registry::Registry;
use super::super::skills::Skill;
use super::{
    CREATED, EMPTY, Layer, TITLE, artifact, blob, empty_config, manifest, several, with_annotations,
};

/// F6: Flux, several skills at the root, with its catalog beside them.
pub fn flux(registry: &Registry, repo: &str, tag: &str, skills: &[Skill]) -> Digest {
    let tar = several(skills).file("catalog.yaml", "skills: []\n", 0o644);
    let config = blob(registry, "application/vnd.cncf.flux.config.v1+json", "{}");
    let layer = Layer::gzip(tar.build())
        .media_type("application/vnd.cncf.flux.content.v1.tar+gzip")
        .push(registry);
    let annotations = json!({
        "org.opencontainers.image.created": CREATED,
        "org.opencontainers.image.source": "https://github.com/fluxcd/agent-skills",
        "org.opencontainers.image.revision": "main@sha1:abc",
    });
    let document = with_annotations(manifest(config, vec![layer]), annotations);
    registry.push_manifest(repo, tag, &document)
}

/// F8: Alibaba, an "empty" config of three bytes, `./` entries, and GNU tar's padding.
pub fn alibaba(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    let tar = skill.add_to(Tar::new(), "./").pad_to(10_240).build();
    let annotations = json!({TITLE: "my-skill.tar.gz"});
    let layer = Layer::raw("application/vnd.agent.skill.content.v1.tar+gzip", gzip(&tar), &tar)
        .annotations(annotations)
        .push(registry);
    let config = blob(registry, EMPTY, "{}\n");
    let annotations = json!({
        "org.opencontainers.image.created": CREATED,
        "org.agent.skill.name": skill.name,
        "org.agent.skill.version": "v1",
    });
    let document = artifact("application/vnd.agent.skill.v1+json", config, vec![layer]);
    registry.push_manifest(repo, tag, &with_annotations(document, annotations))
}

/// F10: ramalama, whose top folder need not have the skill's name.
pub fn ramalama(registry: &Registry, repo: &str, tag: &str, skill: &Skill, folder: &str) -> Digest {
    let annotations = json!({TITLE: "tmpab12.tar.gz", "org.cncf.model.filepath": folder});
    let layer = Layer::gzip(skill.add_to(Tar::new(), &format!("{folder}/")).build())
        .media_type("application/vnd.cncf.skill.bundle.v1.tar+gzip")
        .annotations(annotations)
        .push(registry);
    let config = empty_config(registry);
    let document = artifact("application/vnd.cncf.skill.manifest.v1+json", config, vec![layer]);
    registry.push_manifest(repo, tag, &document)
}

/// F11: a Lola module, with skills below `module-root/skills`.
pub fn lola(registry: &Registry, repo: &str, tag: &str, skills: &[Skill]) -> Digest {
    let tar = Tar::new().dir("module-root").dir("module-root/skills").file(
        "module-root/commands/hello.md",
        "# Hello\n",
        0o644,
    );
    let tar = skills
        .iter()
        .fold(tar, |tar, skill| skill.add_to(tar, &format!("module-root/skills/{}/", skill.name)));
    let config = blob(registry, "application/vnd.lola.module.config.v1+json", "{}");
    let layer = Layer::gzip(tar.build())
        .media_type("application/vnd.lola.module.layer.v1.tar+gzip")
        .push(registry);
    let document = manifest(config, vec![layer]);
    let annotations = json!({"io.lola.module.name": "module"});
    registry.push_manifest(repo, tag, &with_annotations(document, annotations))
}

/// F13: a ModelPack with a skill as its documentation, in a plain tar.
pub fn modelpack(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    let tar = skill.tar_below_name().build();
    let layer = Layer::raw("application/vnd.cncf.model.doc.v1.tar", tar.clone(), &tar)
        .annotations(json!({"org.cncf.model.filepath": skill.name}))
        .push(registry);
    let config = blob(registry, "application/vnd.cncf.model.config.v1+json", "{}");
    let document = artifact("application/vnd.cncf.model.manifest.v1+json", config, vec![layer]);
    registry.push_manifest(repo, tag, &document)
}

/// A type that nobody has heard of: one untitled layer of any bytes, over the empty config.
pub fn unknown(
    registry: &Registry,
    repo: &str,
    tag: &str,
    layer_type: &str,
    bytes: Vec<u8>,
) -> Digest {
    let layer = Layer::raw(layer_type, bytes.clone(), &bytes).push(registry);
    registry.push_manifest(repo, tag, &manifest(empty_config(registry), vec![layer]))
}

/// No layer at all.
pub fn no_layers(registry: &Registry, repo: &str, tag: &str) -> Digest {
    registry.push_manifest(repo, tag, &manifest(empty_config(registry), vec![]))
}
