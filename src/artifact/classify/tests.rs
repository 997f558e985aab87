use super::*;
use crate::artifact::testing::{digest, manifest};

const IC: &str = "application/vnd.oci.image.config.v1+json";
const IL: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const F2: &str = "application/vnd.agentskills.skill.content.v1.tar+gzip";

/// `artifact type | config type | layers`, each `type title [key=value …]`, by `;`.
fn describe(text: &str) -> Manifest {
    let mut parts = text.split('|').map(str::trim);
    let (artifact_type, config) = (parts.next().unwrap(), parts.next().unwrap());
    let layers: Vec<_> = parts
        .next()
        .unwrap()
        .split(';')
        .enumerate()
        .filter(|(_, layer)| !layer.trim().is_empty())
        .map(|(index, layer)| {
            let mut words = layer.split_whitespace();
            let media_type = words.next().unwrap();
            let mut digest = format!("@{index}");
            let mut annotations = serde_json::Map::new();
            for word in words {
                match word.split_once('=') {
                    Some(("digest", value)) => digest = format!("@{value}"),
                    Some((key, value)) => drop(annotations.insert(key.into(), value.into())),
                    None => drop(annotations.insert(super::super::descriptor::TITLE.into(), word.into())),
                }
            }
            serde_json::json!({"mediaType": media_type, "digest": digest, "annotations": annotations})
        })
        .collect();
    let mut json = serde_json::json!({ "layers": layers });
    if !artifact_type.is_empty() {
        json["artifactType"] = artifact_type.into();
    }
    if !config.is_empty() {
        json["config"] = serde_json::json!({"mediaType": config, "digest": "@config"});
    }
    manifest(&json.to_string())
}

fn show(layer: &Layer) -> String {
    match &layer.action {
        Action::ImageLayer => "image".into(),
        Action::Tar { under } => format!("tar {under}"),
        Action::Directory { title, content } => format!("directory {title} {}", content.is_some()),
        Action::TitledArchive { title } => format!("archive {title}"),
        Action::File { title } => format!("file {title}"),
        Action::Unknown => "unknown".into(),
    }
}

#[test]
fn every_row_has_its_action() {
    let empty = types::EMPTY;
    let skill = types::AGENTSKILLS_SKILL;
    let f2c = types::AGENTSKILLS_CONFIG;
    let docker = "application/vnd.docker.container.image.v1+json";
    let dlayer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let redhat = "application/vnd.redhat.agentskill";
    let oras = "io.deis.oras.content";
    let d = digest("x");
    let model = "application/vnd.cncf.model";
    let file = "org.cncf.model.filepath";
    for (row, text, format, actions, warned) in [
        ("V01 image", format!("|{IC}|{IL}"), "image", "image", false),
        ("V02", format!("|{redhat}.config.v1+json|{redhat}.layer.v1.tar+gzip"), "skillimage", "tar .", false),
        ("V03", format!("|{redhat}.config.v1+json|{redhat}.layer.v1+tar"), "skillimage", "tar .", false),
        ("V06", format!("{skill}|{f2c}|{F2}"), "agentskills", "tar .", false),
        ("V07", format!("{skill}|{f2c}|{F2} code-review-8123.tar.gz"), "agentskills", "tar .", false),
        ("V10", format!("{skill}|{f2c}|application/octet-stream SKILL.md;application/octet-stream scripts/run.sh"), "agentskills-files", "file SKILL.md, file scripts/run.sh", false),
        ("V11", format!("|{empty}|text/markdown SKILL.md"), "oras-files", "file SKILL.md", false),
        ("V12", format!("|{empty}|{IL} code-review {oras}.unpack=true {oras}.digest={d}"), "oras-directory", "directory code-review true", false),
        ("V13", format!("|{empty}|{IL} . {oras}.unpack=true"), "oras-directory", "directory . false", false),
        ("V14", format!("|{empty}|{IL} a {oras}.unpack=true;{IL} b {oras}.unpack=true"), "oras-directory", "directory a false, directory b false", false),
        ("V15", format!("|{empty}|{TAR} SKILL.md;{TAR} scripts/run.sh"), "oras-files", "file SKILL.md, file scripts/run.sh", false),
        ("V16", format!("dev.toolhive.skills.v1|{IC}|{IL} skill.tar.gz"), "toolhive", "image", false),
        ("V17", "|application/vnd.cncf.flux.config.v1+json|application/vnd.cncf.flux.content.v1.tar+gzip".into(), "flux", "tar .", false),
        ("V18", format!("|{docker}|{dlayer}"), "image", "image", false),
        ("V20", format!("|{IC}|{IL};{IL}"), "image", "image, image", false),
        ("V21", format!("application/vnd.agent.skill.v1+json|{empty}|application/vnd.agent.skill.content.v1.tar+gzip my-skill.tar.gz"), "alibaba", "tar .", false),
        ("V22", format!("application/vnd.cncf.skill.manifest.v1+json|{empty}|application/vnd.cncf.skill.bundle.v1.tar+gzip tmp.tar.gz {file}=code-review"), "ramalama", "tar .", false),
        ("V23", format!("{skill}|application/vnd.agentskills.config.v1+json|{F2} code-review-1.0.0.tgz"), "agentskills", "tar .", false),
        ("V24", format!("|{model}.config.v1+json|{model}.doc.v1.tar {file}=code-review"), "modelpack", "tar .", false),
        ("V24 below", format!("|{model}.config.v1+json|{model}.code.v1.tar+zstd {file}=a/b"), "modelpack", "tar a", false),
        ("F13 raw", format!("|{model}.config.v1+json|{model}.doc.v1.raw {file}=a/SKILL.md"), "modelpack", "file a/SKILL.md", false),
        ("V25", format!("dev.toolhive.plugins.v1|{IC}|{IL}"), "toolhive-plugin", "image", false),
        ("V26", "|application/vnd.lola.module.config.v1+json|application/vnd.lola.module.layer.v1.tar+gzip".into(), "lola", "tar .", false),
        ("V27", format!("|{IC}|application/vnd.oci.image.layer.v1.tar+zstd"), "image", "image", false),
        ("ocx", "||application/vnd.ocx.skills.v1.tar+gzip".into(), "ocx", "tar .", false),
        ("agentrc", "||application/vnd.agentrc.agent.skill.layer.v1.tar+gzip".into(), "agentrc", "tar .", false),
        ("O03", format!("|{empty}|{IL}"), "unknown", "unknown", false),
        ("O04", format!("{skill}||text/markdown"), "unknown", "unknown", false),
        ("O15", format!("|{empty}|text/x a digest=1;text/x b digest=1"), "oras-files", "file a, file b", false),
        ("same twice", format!("|{empty}|text/x a digest=1;text/x ./a digest=1"), "oras-files", "file a", false),
        ("archive", format!("|{empty}|application/x x.tgz"), "archive", "archive x.tgz", false),
        ("archive by type", format!("|{empty}|application/x-tar x"), "archive", "archive x", false),
        ("asset", format!("|{empty}|application/x skill.tar.gz;text/markdown a/SKILL.md"), "oras-files", "file skill.tar.gz, file a/SKILL.md", false),
        ("SBOM as a file", format!("|{empty}|application/spdx+json sbom.json;text/markdown SKILL.md"), "oras-files", "file sbom.json, file SKILL.md", false),
        ("two F2 layers", format!("{skill}|{f2c}|{F2};{F2}"), "agentskills", "tar ., tar .", true),
        ("mixed", format!("|{empty}|{F2};text/x notes.md;{IL} d {oras}.unpack=true"), "agentskills", "tar ., file notes.md, directory d false", true),
        ("empty blob beside", format!("|{empty}|{F2};{empty}"), "agentskills", "tar .", false),
        ("image type, titled", format!("|{empty}|{IL} x"), "archive", "archive x", false),
    ] {
        let Class::Tree(plan) = classify(&describe(&text)).unwrap() else { panic!("{row}") };
        let found: Vec<String> = plan.layers.iter().map(show).collect();
        assert_eq!((plan.format, found.join(", ").as_str()), (format, actions), "{row}");
        assert_eq!(!plan.warnings.is_empty(), warned, "{row}: {:?}", plan.warnings);
    }
}

#[test]
fn v02_equal_layers_have_equal_keys() {
    let key = |text: &str| match classify(&describe(text)).unwrap() {
        Class::Tree(plan) => plan.key(""),
        Class::SkillimageCollection(_) => panic!(),
    };
    let image = key(&format!("|{IC}|{IL}"));
    assert_eq!(image, key("||application/vnd.redhat.agentskill.layer.v1.tar+gzip"));
    assert_ne!(image, key(&format!("|{IC}|{IL};{IL}")));
}

#[test]
fn configs_worth_reading_are_kept() {
    for (text, kept) in [
        (format!("|{IC}|{IL}"), true),
        (format!("|{}|{F2}", types::AGENTSKILLS_CONFIG), true),
        (format!("|{}|{F2}", types::EMPTY), false),
        (format!("|application/vnd.cncf.flux.config.v1+json|{F2}"), false),
    ] {
        let Class::Tree(plan) = classify(&describe(&text)).unwrap() else { panic!("{text}") };
        assert_eq!(plan.config.is_some(), kept, "{text}");
    }
    let mut promoted = describe(&format!("|{IC}|{IL}"));
    promoted.annotations.insert("io.skillimage.status".into(), "published".into());
    let Class::Tree(plan) = classify(&promoted).unwrap() else { panic!() };
    assert_eq!(plan.format, "skillimage");
}

#[test]
fn v04_collections_are_told() {
    let yaml = types::SKILLIMAGE_COLLECTION;
    for text in [format!("{yaml}||{yaml}"), format!("{yaml}||text/x a"), format!("||{yaml}")] {
        let Ok(Class::SkillimageCollection(blob)) = classify(&describe(&text)) else {
            panic!("{text}");
        };
        assert_eq!(blob.digest, digest("0"));
    }
    assert_eq!(
        classify(&describe(&format!("{yaml}||{yaml};{yaml}"))),
        Err(ClassifyError::Collection(2))
    );
}

#[test]
fn m08_m21_m22_m27_refusals() {
    let helm = "application/vnd.cncf.helm";
    let oras = "io.deis.oras.content";
    for (row, text, message) in [
        (
            "M22",
            format!("|{helm}.config.v1+json|{helm}.chart.content.v1.tar+gzip"),
            "the artifact is a Helm chart (application/vnd.cncf.helm.config.v1+json), not a skill",
        ),
        (
            "M22",
            format!("|{IC}|application/vnd.dev.cosign.simplesigning.v1+json"),
            "the artifact is a cosign signature",
        ),
        (
            "M22",
            format!("|{IC}|application/vnd.in-toto+json"),
            "the artifact is an in-toto attestation",
        ),
        (
            "M22",
            "application/vnd.dev.sigstore.bundle.v0.3+json||text/x a".into(),
            "the artifact is a sigstore bundle",
        ),
        ("M22", "||application/spdx+json sbom.json".into(), "the artifact is an SPDX SBOM"),
        (
            "M22",
            "|application/vnd.wasm.config.v0+json|application/wasm".into(),
            "the artifact is a WebAssembly module",
        ),
        (
            "M21",
            format!("|{IC}|application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
            "layer sha256:",
        ),
        (
            "M21",
            format!("|{IC}|application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
            "layer sha256:",
        ),
        ("12", format!("|{IC}|"), "the artifact has no layers"),
        ("12", format!("|{}|{}", types::EMPTY, types::EMPTY), "the artifact has no layers"),
        (
            "13",
            "a/b|c/d|x/y;x/z".into(),
            "nothing is known about an artifact of this kind (artifact type \"a/b\", config \"c/d\", layers x/y, x/z)",
        ),
        ("13", "||x/y;x/z t".into(), "nothing is known"),
        ("no title", format!("||{IL} {oras}.unpack=true"), "layer sha256:"),
        ("M27", format!("||{IL} a {oras}.unpack=true {oras}.digest=x"), "layer sha256:"),
        ("twice", "||text/x a;text/x a".into(), "layers sha256:"),
    ] {
        let error = classify(&describe(&text)).unwrap_err().to_string();
        assert!(error.starts_with(message), "{row}: {error}");
    }
    for (title, unpack) in [
        ("../../etc/cron.d/x", false),
        ("/etc/x", false),
        ("/etc/x", true),
        ("a/../../b", true),
        ("", false),
        ("", true),
        (".", false),
        ("a\0", false),
        ("a\nb", true),
    ] {
        let mut manifest = describe("||text/x a");
        let annotations = &mut manifest.layers[0].annotations;
        annotations.insert(super::super::descriptor::TITLE.into(), title.into());
        annotations.insert(ORAS_UNPACK.into(), unpack.to_string());
        let error = classify(&manifest).unwrap_err();
        assert!(error.to_string().contains("not a path in the artifact"), "M08 {title:?}: {error}");
    }
}
