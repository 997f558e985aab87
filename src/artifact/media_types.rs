//! Media types, and what each means: the data of [`super::classify`]. To support another
//! producer, add a line here.
//!
//! Patterns are lower-case; `*` stands for any text. The first matching line counts.

/// `application/vnd.oci.image.index.v1+json`.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// `application/vnd.oci.image.manifest.v1+json`.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
pub(super) const DOCKER_SCHEMA1_SIGNED: &str =
    "application/vnd.docker.distribution.manifest.v1+prettyjws";
pub(super) const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// What a server says that does not know manifests.
pub(super) const GENERIC_JSON: &[&str] =
    &["application/json", "application/octet-stream", "text/plain"];

/// The Agent Skills OCI draft's artifact type of one skill.
pub const AGENTSKILLS_SKILL: &str = "application/vnd.agentskills.skill.v1";
/// The Agent Skills OCI draft's artifact type of an index of skills.
pub const AGENTSKILLS_COLLECTION: &str = "application/vnd.agentskills.collection.v1";
/// The Agent Skills OCI draft's config.
pub const AGENTSKILLS_CONFIG: &str = "application/vnd.agentskills.skill.config.v1+json";
/// skillimage's list of pointers to skill images.
pub const SKILLIMAGE_COLLECTION: &str = "application/vnd.skillimage.collection.v1+yaml";
pub(super) const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The stable names of the formats, as records, metrics and messages show them.
pub mod format {
    /// A container image whose files are a skill.
    pub const IMAGE: &str = "image";
    /// Red Hat skillimage: an image with its annotations or media types.
    pub const SKILLIMAGE: &str = "skillimage";
    /// Red Hat skillimage: pointers to skills in other repositories.
    pub const SKILLIMAGE_COLLECTION: &str = "skillimage-collection";
    /// `ToolHive`: an index of equal images.
    pub const TOOLHIVE: &str = "toolhive";
    /// `ToolHive`: a plugin that holds skills.
    pub const TOOLHIVE_PLUGIN: &str = "toolhive-plugin";
    /// Agent Skills OCI draft: one archive.
    pub const AGENTSKILLS: &str = "agentskills";
    /// Agent Skills OCI draft's types, but a layer per file (docsclaw).
    pub const AGENTSKILLS_FILES: &str = "agentskills-files";
    /// Agent Skills OCI draft: an index of skills.
    pub const AGENTSKILLS_COLLECTION: &str = "agentskills-collection";
    /// A directory pushed by ORAS.
    pub const ORAS_DIRECTORY: &str = "oras-directory";
    /// Files pushed by ORAS.
    pub const ORAS_FILES: &str = "oras-files";
    /// An archive pushed by ORAS as a file.
    pub const ARCHIVE: &str = "archive";
    /// Flux Operator's agent skills.
    pub const FLUX: &str = "flux";
    /// Alibaba Cloud Container Registry.
    pub const ALIBABA: &str = "alibaba";
    /// RamaLama.
    pub const RAMALAMA: &str = "ramalama";
    /// A Lola module.
    pub const LOLA: &str = "lola";
    /// ocx.
    pub const OCX: &str = "ocx";
    /// agentrc.
    pub const AGENTRC: &str = "agentrc";
    /// CNCF `ModelPack` (KitOps, modctl).
    pub const MODELPACK: &str = "modelpack";
    /// One layer without a title or a known type.
    pub const UNKNOWN: &str = "unknown";
}

/// What a layer's media type means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LayerKind {
    /// A layer of a container image.
    Image,
    /// A tar of skills, to be unpacked into the root.
    SkillTar(&'static str),
    /// A tar whose root is the parent of `org.cncf.model.filepath`.
    ModelTar,
    /// A file at `org.cncf.model.filepath`.
    ModelFile,
    /// A list of pointers.
    Collection,
    /// Not to be fetched or not to be read; the text says what it is.
    Refused(&'static str),
    /// Nothing is in it.
    Empty,
}

use LayerKind::{Collection, Empty, Image, ModelFile, ModelTar, Refused, SkillTar};

const LAYERS: &[(&str, LayerKind)] = &[
    ("application/vnd.oci.image.layer.nondistributable.*", Refused("a non-distributable layer")),
    ("application/vnd.docker.image.rootfs.foreign.*", Refused("a foreign layer")),
    ("*+encrypted", Refused("an encrypted layer")),
    ("application/vnd.oci.image.layer.v1.tar", Image),
    ("application/vnd.oci.image.layer.v1.tar+gzip", Image),
    ("application/vnd.oci.image.layer.v1.tar+zstd", Image),
    ("application/vnd.docker.image.rootfs.diff.tar", Image),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", Image),
    ("application/vnd.docker.image.rootfs.diff.tar.zstd", Image),
    ("application/vnd.docker.image.rootfs.diff.tar+zstd", Image),
    ("application/vnd.agentskills.skill.content.v1.tar", SkillTar(format::AGENTSKILLS)),
    ("application/vnd.agentskills.skill.content.v1.tar+gzip", SkillTar(format::AGENTSKILLS)),
    ("application/vnd.agentskills.skill.content.v1.tar+zstd", SkillTar(format::AGENTSKILLS)),
    ("application/vnd.redhat.agentskill.layer.v1.tar+gzip", SkillTar(format::SKILLIMAGE)),
    ("application/vnd.redhat.agentskill.layer.v1+tar", SkillTar(format::SKILLIMAGE)),
    ("application/vnd.cncf.flux.content.v1.tar+gzip", SkillTar(format::FLUX)),
    ("application/vnd.agent.skill.content.v1.tar+gzip", SkillTar(format::ALIBABA)),
    ("application/vnd.cncf.skill.bundle.v1.tar+gzip", SkillTar(format::RAMALAMA)),
    ("application/vnd.lola.module.layer.v1.tar+gzip", SkillTar(format::LOLA)),
    ("application/vnd.ocx.skills.v1.tar+gzip", SkillTar(format::OCX)),
    ("application/vnd.agentrc.agent.skill.layer.v1.tar+gzip", SkillTar(format::AGENTRC)),
    ("application/vnd.cncf.model.*.v1.tar*", ModelTar),
    ("application/vnd.cncf.model.*.v1.raw", ModelFile),
    (SKILLIMAGE_COLLECTION, Collection),
    (EMPTY, Empty),
];

/// What a config's media type means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConfigKind {
    /// A container image's config; its layers are a file system.
    Image,
    /// An image config in fact, but its layers are not a file system's.
    ImageLike,
    /// A config that may name the skill.
    Skill,
}

const CONFIGS: &[(&str, ConfigKind)] = &[
    ("application/vnd.oci.image.config.v1+json", ConfigKind::Image),
    ("application/vnd.docker.container.image.v1+json", ConfigKind::Image),
    ("application/vnd.redhat.agentskill.config.v1+json", ConfigKind::ImageLike),
    (AGENTSKILLS_CONFIG, ConfigKind::Skill),
    ("application/vnd.agentskills.config.v1+json", ConfigKind::Skill),
    ("application/vnd.cncf.skill.config.v1+json", ConfigKind::Skill),
];

/// Images that have a name of their own, by artifact type.
const IMAGE_FORMATS: &[(&str, &str)] = &[
    ("dev.toolhive.skills.v1", format::TOOLHIVE),
    ("dev.toolhive.plugins.v1", format::TOOLHIVE_PLUGIN),
];

/// What an artifact is that is no skill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Other {
    /// It says something about another artifact: an index may list it beside a skill.
    About(&'static str),
    /// It is something else.
    Else(&'static str),
}

impl Other {
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::About(what) | Self::Else(what) => what,
        }
    }
}

use Other::{About, Else};

const OTHERS: &[(&str, Other)] = &[
    ("application/vnd.dev.cosign.*", About("a cosign signature or attestation")),
    ("application/vnd.dev.sigstore.*", About("a sigstore bundle")),
    ("application/vnd.cncf.notary.*", About("a Notary signature")),
    ("application/vnd.in-toto*", About("an in-toto attestation")),
    ("application/spdx*", About("an SPDX SBOM")),
    ("text/spdx*", About("an SPDX SBOM")),
    ("application/vnd.cyclonedx*", About("a CycloneDX SBOM")),
    ("application/vnd.syft*", About("a Syft SBOM")),
    ("application/sarif+json", About("a scan report")),
    ("application/vnd.cncf.helm.*", Else("a Helm chart")),
    ("application/vnd.wasm.*", Else("a WebAssembly module")),
    ("application/vnd.module.wasm.*", Else("a WebAssembly module")),
    ("application/vnd.w3c.wasm*", Else("a WebAssembly module")),
    ("application/wasm", Else("a WebAssembly module")),
    ("application/vnd.docker.plugin*", Else("a Docker plugin")),
    ("application/vnd.docker.ai.*", Else("a model for Docker Model Runner")),
    ("application/vnd.ollama.*", Else("an Ollama model")),
    ("application/vnd.buildkit.*", Else("a BuildKit cache")),
    ("application/vnd.cncf.openpolicyagent.*", Else("an Open Policy Agent bundle")),
    ("application/vnd.devcontainers*", Else("a dev container feature")),
];

/// The ends of file names that archives have.
pub(super) const ARCHIVE_SUFFIXES: &[&str] = &[".tar", ".tgz", ".tar.gz", ".tar.zst"];

/// A media type without its parameters, lower-case.
pub(super) fn essence(media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

pub(super) fn layer(media_type: &str) -> Option<LayerKind> {
    find(LAYERS, media_type)
}

pub(super) fn config(media_type: &str) -> Option<ConfigKind> {
    find(CONFIGS, media_type)
}

pub(super) fn image_format(artifact_type: &str) -> Option<&'static str> {
    find(IMAGE_FORMATS, artifact_type)
}

pub(super) fn other(media_type: &str) -> Option<Other> {
    find(OTHERS, media_type)
}

fn find<T: Copy>(table: &[(&str, T)], media_type: &str) -> Option<T> {
    let media_type = essence(media_type);
    table.iter().find(|(pattern, _)| matches(pattern, &media_type)).map(|(_, meaning)| *meaning)
}

fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(first) else { return false };
    match rest.is_empty() {
        true => true,
        false => (0..=text.len())
            .filter(|&at| text.is_char_boundary(at))
            .any(|at| matches(rest, &text[at..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_types() {
        for (pattern, text, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/bc", false),
            ("a/b*", "a/bc", true),
            ("*+x", "a/b+x", true),
            ("*+x", "a/b+xy", false),
            ("m.*.v1.tar*", "m.doc.v1.tar+gzip", true),
            ("m.*.v1.tar*", "m.doc.v1.raw", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        assert_eq!(
            config("Application/vnd.OCI.image.config.v1+json; a=b"),
            Some(ConfigKind::Image)
        );
    }

    #[test]
    fn patterns_are_lower_case() {
        let all = LAYERS.iter().map(|row| row.0).chain(CONFIGS.iter().map(|row| row.0));
        for pattern in all.chain(OTHERS.iter().map(|row| row.0)) {
            assert_eq!(pattern, essence(pattern));
        }
    }
}
