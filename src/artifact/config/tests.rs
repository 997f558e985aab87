use super::*;
use crate::artifact::testing::{digest, manifest};

fn of(media_type: &str, annotations: &str) -> Manifest {
    manifest(&format!(
        r#"{{"config":{{"mediaType":"{media_type}","digest":"@c"}},"annotations":{annotations}}}"#
    ))
}

const IMAGE: &str = "application/vnd.oci.image.config.v1+json";

#[test]
fn image_configs() {
    let body = format!(
        r#"{{"config":{{"Labels":{{"a":"b"}}}},"rootfs":{{"diff_ids":["{}"]}}}}"#,
        digest("d")
    );
    let config = Config::parse(&of(IMAGE, "{}"), body.as_bytes()).unwrap().unwrap();
    let Config::Image(image) = &config else { panic!() };
    assert_eq!(image.labels["a"], "b");
    assert_eq!(image.diff_ids, [digest("d")]);
    assert!(config.findings(&of(IMAGE, "{}")).is_empty());
    for sparse in ["{}", r#"{"config":null,"rootfs":null}"#, r#"{"config":{"Labels":null}}"#] {
        let config = Config::parse(&of(IMAGE, "{}"), sparse.as_bytes()).unwrap();
        assert_eq!(config, Some(Config::Image(ImageConfig::default())), "{sparse}");
    }
    assert_eq!(Config::parse(&of("text/x", "{}"), b"\xff").unwrap(), None);
}

#[test]
fn m26_skill_configs() {
    let named = r#"{"io.agentskills.skill.name":"a"}"#;
    let manifest = of(types::AGENTSKILLS_CONFIG, named);
    for (body, findings) in [
        (r#"{"schemaVersion":"1","name":"a"}"#, 0),
        (r#"{"schemaVersion":"1","name":"b"}"#, 1),
        (r#"{"schemaVersion":"1"}"#, 1),
        ("{}", 2),
    ] {
        let config = Config::parse(&manifest, body.as_bytes()).unwrap().unwrap();
        assert_eq!(config.findings(&manifest).len(), findings, "{body}");
    }
    let error = |body: &[u8]| Config::parse(&manifest, body).unwrap_err();
    assert!(matches!(error(br#"{"schemaVersion":"2"}"#), ConfigError::SchemaVersion(_)));
    assert!(matches!(error(b"[1"), ConfigError::Json { .. }));
    assert!(matches!(error(&vec![b' '; MAX_BYTES + 1]), ConfigError::TooLarge(_)));
}
