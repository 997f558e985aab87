use super::*;
use crate::artifact::testing::{digest, index, manifest};

fn node(architecture: &str, variant: Option<&str>) -> Platform {
    Platform {
        architecture: architecture.into(),
        os: "linux".into(),
        variant: variant.map(Into::into),
    }
}

fn child(name: &str, platform: &str) -> String {
    let (architecture, variant) = match platform.split_once('/') {
        Some((a, v)) => (a, format!(r#","variant":"{v}""#)),
        None => (platform, String::new()),
    };
    let os = if architecture == "unknown" { "unknown" } else { "linux" };
    format!(
        r#"{{"digest":"@{name}","platform":{{"architecture":"{architecture}","os":"{os}"{variant}}}}}"#
    )
}

#[test]
fn the_nodes_platform_is_taken() {
    let both = [child("amd", "amd64"), child("arm", "arm64")].join(",");
    let variants =
        [child("v6", "arm/v6"), child("v7", "arm/v7"), child("v8", "arm64/v8")].join(",");
    let attested = [child("amd", "amd64"), child("attestation", "unknown")].join(",");
    let sbom = format!(
        r#"{},{{"digest":"@sbom","artifactType":"application/spdx+json"}},
           {{"digest":"@sig","artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json"}}"#,
        child("arm", "arm64")
    );
    for (row, children, node, expected, warned) in [
        ("V16 amd64", &both, node("amd64", None), Some("amd"), false),
        ("V16 arm64", &both, node("arm64", None), Some("arm"), false),
        ("V16 arm64 v8", &both, node("arm64", Some("v8")), Some("arm"), false),
        ("V16 s390x: compare", &both, node("s390x", None), None, false),
        ("variant", &variants, node("arm", Some("v6")), Some("v6"), false),
        ("no variant is v7", &variants, node("arm", None), Some("v7"), false),
        ("v8 is no variant", &variants, node("arm64", None), Some("v8"), false),
        ("V19 attestation", &attested, node("amd64", None), Some("amd"), false),
        ("O06 one child left", &attested, node("arm64", None), Some("amd"), true),
        ("O06 SBOM and signature", &sbom, node("amd64", None), Some("arm"), true),
    ] {
        let index = index(&format!(r#"{{"manifests":[{children}]}}"#));
        match (choose(&index, &node).unwrap(), expected) {
            (Choice::One { child, warnings }, Some(expected)) => {
                assert_eq!(child.digest, digest(expected), "{row}");
                assert_eq!(!warnings.is_empty(), warned, "{row}");
            }
            (Choice::Compare(children), None) => assert_eq!(children.len(), 2, "{row}"),
            (choice, _) => panic!("{row}: {choice:?}"),
        }
    }
}

#[test]
fn v16_o06_equal_layers_make_platforms_equal() {
    let one = manifest(r#"{"layers":[{"digest":"@a","size":1}]}"#);
    let other = manifest(r#"{"layers":[{"digest":"@b","size":1}]}"#);
    assert!(same_layers(&[one.clone(), one.clone()]));
    assert!(!same_layers(&[one, other]));
    assert!(!same_layers(&[]));
    let index =
        index(&format!(r#"{{"manifests":[{},{{"digest":"@b"}}]}}"#, child("a", "arm64/v8")));
    assert_eq!(
        no_platform(&index.manifests, &node("amd64", None)).to_string(),
        "no manifest for linux/amd64 in the index (it has: linux/arm64/v8, none given)"
    );
}

#[test]
fn v08_v09_collections() {
    let skill = r#""artifactType":"application/vnd.agentskills.skill.v1""#;
    let member = format!(
        r#"{{"digest":"@a",{skill},"size":0,"annotations":{{
            "io.agentskills.skill.name":"code-review","io.agentskills.skill.ref":"r.io/f/a:1"}}}},
           {{"digest":"@b",{skill},"annotations":{{
            "io.agentskills.skill.name":"..","org.opencontainers.image.ref.name":"r.io/f/b:1"}}}},
           {{"digest":"@c",{skill},"annotations":{{"org.opencontainers.image.ref.name":"1.0.0"}}}},
           {{"digest":"@s","artifactType":"application/vnd.dev.cosign.artifact.sig.v1+json"}}"#
    );
    let collection = r#""artifactType":"application/vnd.agentskills.collection.v1","#;
    let named = r#""annotations":{"io.agentskills.collection.name":"team"},"#;
    for marks in [collection, named, ""] {
        let index = index(&format!(r#"{{{marks}"manifests":[{member}]}}"#));
        let Choice::Collection(members) = choose(&index, &node("amd64", None)).unwrap() else {
            panic!("no collection: {marks}");
        };
        let members: Vec<_> = members
            .iter()
            .map(|m| (m.descriptor.digest.clone(), m.name.as_deref(), m.reference.as_deref()))
            .collect();
        let expected = [
            (digest("a"), Some("code-review"), Some("r.io/f/a:1")),
            (digest("b"), None, Some("r.io/f/b:1")),
            (digest("c"), None, None),
        ];
        assert_eq!(members, expected, "{marks}");
    }
}

#[test]
fn m13_nested_and_empty_indexes_are_refused() {
    let nested = format!(r#"{{"digest":"@i","mediaType":"{}"}}"#, types::OCI_INDEX);
    for (children, message) in [
        (nested.clone(), "the index lists another index"),
        (format!("{nested},{}", child("a", "arm64")), "the index lists another index"),
        (String::new(), "the index lists no artifact (of 0"),
        (child("x", "unknown"), "the index lists no artifact (of 1"),
    ] {
        let index = index(&format!(r#"{{"manifests":[{children}]}}"#));
        let error = choose(&index, &node("amd64", None)).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
    let beside = index(&format!(r#"{{"manifests":[{nested},{}]}}"#, child("a", "amd64")));
    assert!(matches!(choose(&beside, &node("amd64", None)), Ok(Choice::One { .. })));
}
