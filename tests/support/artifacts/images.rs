//! F5 and F7: container images, and what is built like one.

use serde_json::{Value, json};
use skillmount::reference::Digest;

use super::super::blobs::Tar;
use super::super::content::Descriptor;
use super::super::registry::Registry;
use super::super::skills::Skill;
use super::{
    CONFIG, CREATED, INDEX, Layer, MANIFEST, TITLE, blob, image_config, index, manifest,
    with_annotations,
};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// An OCI image of any layers, lowest first.
pub fn image(registry: &Registry, repo: &str, tag: &str, layers: &[Layer]) -> Digest {
    registry.push_manifest(repo, tag, &image_document(registry, "amd64", layers))
}

/// An OCI image with the skill at its root in one layer, compressed by `Layer::gzip`,
/// `Layer::zstd` or not at all (`Layer::plain`).
pub fn skill_image(
    registry: &Registry,
    repo: &str,
    tag: &str,
    skill: &Skill,
    layer: impl Fn(Vec<u8>) -> Layer,
) -> Digest {
    image(registry, repo, tag, &[layer(skill.tar().build())])
}

/// The manifest of an OCI image; its blobs are pushed.
pub fn image_document(registry: &Registry, architecture: &str, layers: &[Layer]) -> Value {
    let config = blob(registry, CONFIG, image_config(architecture, layers).to_string());
    manifest(config, layers.iter().map(|layer| layer.push(registry)).collect())
}

/// An index of one image per platform, `("amd64", layers)`.
pub fn platforms(
    registry: &Registry,
    repo: &str,
    tag: &str,
    images: &[(&str, Vec<Layer>)],
) -> Digest {
    let child = |(architecture, layers): &(&str, Vec<Layer>)| {
        let document = image_document(registry, architecture, layers);
        let mut child = registry.push_document(repo, None, &document).json(MANIFEST);
        child["platform"] = json!({"architecture": architecture, "os": "linux"});
        child
    };
    registry.push_manifest(repo, tag, &index(images.iter().map(child).collect()))
}

/// The skills below their names, in one archive.
pub fn several(skills: &[Skill]) -> Tar {
    skills.iter().fold(Tar::new(), |tar, skill| skill.add_to(tar, &format!("{}/", skill.name)))
}

fn with_dockerfile(skill: &Skill) -> Skill {
    skill.clone().file("Dockerfile", "FROM scratch\nCOPY . /\n", 0o644)
}

/// F7: `FROM scratch; COPY . /` in Docker's own types, with the Dockerfile in it.
pub fn docker(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    docker_layers(registry, repo, tag, &[with_dockerfile(skill).tar()])
}

/// F7: a Docker image of any archives, lowest first.
pub fn docker_layers(registry: &Registry, repo: &str, tag: &str, tars: &[Tar]) -> Digest {
    let layers = tars.iter().map(|tar| Layer::gzip(tar.clone().build()).media_type(DOCKER_LAYER));
    let layers: Vec<Layer> = layers.collect();
    let config = blob(registry, DOCKER_CONFIG, image_config("amd64", &layers).to_string());
    let mut document = manifest(config, layers.iter().map(|layer| layer.push(registry)).collect());
    document["mediaType"] = DOCKER_MANIFEST.into();
    registry.push_manifest(repo, tag, &document)
}

/// F7 in two layers: the second overrides SKILL.md, removes `old`, and makes `old2` opaque.
pub fn docker_whiteouts(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    let lower = skill
        .clone()
        .file("SKILL.md", "---\nname: overridden\ndescription: Lower layer.\n---\n", 0o644)
        .file("old", "gone\n", 0o644)
        .file("old2/a", "gone\n", 0o644);
    let text = &skill.files["SKILL.md"].content;
    let upper = Tar::new()
        .file("SKILL.md", text, 0o644)
        .file(".wh.old", "", 0o644)
        .dir("old2")
        .file("old2/.wh..wh..opq", "", 0o644)
        .file("old2/b", "kept\n", 0o644);
    docker_layers(registry, repo, tag, &[lower.tar(), upper])
}

/// F7: a Docker manifest list over one Docker image.
pub fn docker_list(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    let child = docker(registry, repo, "child", skill);
    let body = registry.manifest(repo, "child").unwrap();
    registry.remove_manifest(repo, "child");
    let mut child = Descriptor { digest: child, size: body.len() as u64 }.json(DOCKER_MANIFEST);
    child["platform"] = json!({"architecture": "amd64", "os": "linux"});
    let document = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [child]});
    registry.push_manifest(repo, tag, &document)
}

/// F7: BuildKit's index, an image and the attestation beside it.
pub fn buildkit(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    let layers = [Layer::gzip(with_dockerfile(skill).tar().build())];
    let image = registry.push_document(repo, None, &image_document(registry, "amd64", &layers));
    let statement = super::statement(&image.digest);
    let statement = Layer::raw("application/vnd.in-toto+json", statement.clone(), &statement)
        .annotations(json!({"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}));
    let attestation = image_document(registry, "unknown", &[statement]);
    let attestation = registry.push_document(repo, None, &attestation);
    let mut children = [image.json(MANIFEST), attestation.json(MANIFEST)];
    children[0]["platform"] = json!({"architecture": "amd64", "os": "linux"});
    children[1]["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    children[1]["annotations"] = json!({
        "vnd.docker.reference.digest": image.digest.to_string(),
        "vnd.docker.reference.type": "attestation-manifest",
    });
    registry.push_manifest(repo, tag, &index(children.into()))
}

/// F5: ToolHive, an index for amd64 and arm64 over one layer, whose title is not a file.
pub fn toolhive(registry: &Registry, repo: &str, tag: &str, skill: &Skill) -> Digest {
    stacklok(registry, repo, tag, skill, skill.tar_flat_modes(), "dev.toolhive.skills")
}

/// F5p: a ToolHive plugin of several skills.
pub fn toolhive_plugin(registry: &Registry, repo: &str, tag: &str, skills: &[Skill]) -> Digest {
    let name = repo.rsplit('/').next().unwrap();
    let about = json!({"name": name, "version": "1.0.0"}).to_string();
    let mut plugin = Skill::new(name, "A plugin.").without("SKILL.md").file(
        ".claude-plugin/plugin.json",
        about,
        0o644,
    );
    for skill in skills {
        for (path, file) in &skill.files {
            plugin =
                plugin.file(&format!("skills/{}/{path}", skill.name), file.content.clone(), 0o644);
        }
    }
    let tar = plugin.tar_flat_modes();
    stacklok(registry, repo, tag, &plugin, tar, "dev.toolhive.plugins")
}

fn stacklok(
    registry: &Registry,
    repo: &str,
    tag: &str,
    skill: &Skill,
    tar: Tar,
    family: &str,
) -> Digest {
    let layers = [Layer::gzip(tar.build()).annotations(json!({TITLE: "skill.tar.gz"}))];
    let artifact_type = format!("{family}.v1");
    let annotations = json!({
        format!("{family}.name"): skill.name,
        format!("{family}.description"): skill.description,
        format!("{family}.version"): skill.version,
        "org.opencontainers.image.created": CREATED,
    });
    let child = |architecture: &str| {
        let mut config = image_config(architecture, &layers);
        config["config"] = json!({"Labels": annotations});
        let config = blob(registry, CONFIG, config.to_string());
        let layers = layers.iter().map(|layer| layer.push(registry)).collect();
        let document = super::artifact(&artifact_type, config, layers);
        let document = with_annotations(document, annotations.clone());
        let mut child = registry.push_document(repo, None, &document).json(MANIFEST);
        child["artifactType"] = artifact_type.as_str().into();
        child["platform"] = json!({"architecture": architecture, "os": "linux"});
        child
    };
    let document = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "artifactType": artifact_type,
        "manifests": [child("amd64"), child("arm64")],
        "annotations": annotations,
    });
    registry.push_manifest(repo, tag, &document)
}

/// F12: an agent plugin as a plain image, `plugin.json` and `skills/<name>/`.
pub fn agent_plugin(registry: &Registry, repo: &str, tag: &str, skills: &[Skill]) -> Digest {
    let tar = Tar::new().file("plugin.json", r#"{"name":"plugin"}"#, 0o644).dir("skills");
    let tar =
        skills.iter().fold(tar, |tar, skill| skill.add_to(tar, &format!("skills/{}/", skill.name)));
    image(registry, repo, tag, &[Layer::gzip(tar.build())])
}
