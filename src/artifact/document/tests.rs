use proptest::prelude::*;

use super::*;
use crate::artifact::testing::digest;

fn parse(body: &str, content_type: Option<&str>) -> Result<Document, DocumentError> {
    Document::parse(body.as_bytes(), content_type)
}

const MANIFEST: &str = types::OCI_MANIFEST;
const INDEX: &str = types::OCI_INDEX;

#[test]
fn kinds_are_told_by_media_type_then_by_shape() {
    let said = format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","layers":null}}"#);
    for (body, content_type, index) in [
        (said.as_str(), None, false),
        (&said, Some("application/vnd.OCI.image.manifest.v1+json; charset=utf-8"), false),
        (&said, Some(""), false),
        (r#"{"schemaVersion":2,"layers":[]}"#, None, false),
        (r#"{"schemaVersion":2,"layers":[]}"#, Some(types::DOCKER_MANIFEST), false),
        (r#"{"schemaVersion":2,"layers":[]}"#, Some("application/json"), false),
        (r#"{"schemaVersion":2,"manifests":[]}"#, None, true),
        (r#"{"schemaVersion":2,"manifests":[]}"#, Some(types::DOCKER_LIST), true),
    ] {
        let document = parse(body, content_type).unwrap();
        assert_eq!(matches!(document, Document::Index(_)), index, "{body} {content_type:?}");
    }
}

#[test]
fn m12_m13_refusals_say_what_is_wrong() {
    let child = format!(r#"{{"digest":"{}"}}"#, digest("x"));
    let children = vec![child.as_str(); 101].join(",");
    let many = format!(r#"{{"schemaVersion":2,"manifests":[{children}]}}"#);
    let said = |t: &str| format!(r#"{{"schemaVersion":2,"mediaType":"{t}","layers":[]}}"#);
    for (body, content_type, message) in [
        ("{}".into(), None, "the manifest has no schemaVersion"),
        (r#"{"schemaVersion":3}"#.into(), None, "the manifest has schemaVersion 3, which is not 2"),
        (r#"{"schemaVersion":1,"fsLayers":[]}"#.into(), None, "Docker manifest schema 1"),
        ("{}".into(), Some(types::DOCKER_SCHEMA1_SIGNED), "Docker manifest schema 1"),
        (r#"{"schemaVersion":2,"fsLayers":[]}"#.into(), None, "Docker manifest schema 1"),
        (
            format!(r#"{{"mediaType":"{}"}}"#, types::OCI_ARTIFACT),
            None,
            "the OCI artifact manifest",
        ),
        (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.into(), None, "the document has both"),
        (r#"{"schemaVersion":2,"layers":[],"layers":[]}"#.into(), None, "the manifest cannot be"),
        (said(MANIFEST), Some(INDEX), "the document says it is"),
        (said(MANIFEST), Some("application/json"), "the document says it is"),
        (said(INDEX), None, "the document is served as"),
        (said("text/html"), None, "media type \"text/html\" is neither"),
        (r#"{"schemaVersion":2}"#.into(), None, "the document has neither"),
        (many, None, "the index lists 101 manifests, more than 100"),
        ("nonsense".into(), None, "the manifest cannot be read as JSON"),
        (" ".repeat(MAX_BYTES + 1), None, "the manifest has 4194305 bytes"),
    ] {
        let error = parse(&body, content_type).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn accept_lists_what_is_parsed() {
    let accepted: Vec<&str> = ACCEPT.split(", ").collect();
    let known = [INDEX, MANIFEST, types::DOCKER_LIST, types::DOCKER_MANIFEST];
    assert_eq!(accepted, known);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body: Vec<u8>, content_type: Option<String>) {
        drop(Document::parse(&body, content_type.as_deref()));
    }

    #[test]
    fn any_fields_are_read_or_refused(
        fields in prop::collection::vec(
            ("schemaVersion|mediaType|layers|manifests|config|blobs", "2|1|null|\\[\\]|\\{\\}|\"x\""),
            0..6,
        ),
    ) {
        let fields: Vec<_> = fields.iter().map(|(k, v)| format!("{k:?}:{v}")).collect();
        drop(parse(&format!("{{{}}}", fields.join(",")), None));
    }
}
