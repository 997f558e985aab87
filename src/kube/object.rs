//! What is decoded of the objects that are read.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// Kubelet's mark of the object that stands for a static pod: the uid that kubelet knows it by.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.uid`.
    pub uid: String,
    /// Of a mirror pod, kubelet's uid of the static pod that it mirrors.
    pub mirrors: Option<String>,
    /// The names in `spec.imagePullSecrets`, in order; not checked, and perhaps empty.
    pub image_pull_secrets: Vec<String>,
}

/// A Secret. Its `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// `metadata.uid`.
    pub uid: String,
    /// `data`, decoded.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.data.keys().collect();
        f.debug_struct("Secret").field("uid", &self.uid).field("keys", &keys).finish()
    }
}

/// An object that can be read.
pub(super) trait Object: Sized {
    /// As it stands in the URL.
    const RESOURCE: &'static str;

    /// Decodes an answer, or says what is wrong with it, without repeating any of it.
    fn decode(json: &[u8]) -> Result<Self, &'static str>;
}

#[derive(Deserialize)]
struct Metadata {
    uid: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// The rest of a pod may be anything that a newer API server says.
#[derive(Deserialize)]
struct RawPod {
    metadata: Metadata,
    spec: PodSpec,
}

#[derive(Deserialize)]
struct PodSpec {
    #[serde(default, rename = "imagePullSecrets")]
    image_pull_secrets: Option<Vec<LocalReference>>,
}

#[derive(Deserialize)]
struct LocalReference {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct RawSecret {
    metadata: Metadata,
    #[serde(default)]
    data: Option<BTreeMap<String, Option<String>>>,
}

impl Object for Pod {
    const RESOURCE: &'static str = "pods";

    fn decode(json: &[u8]) -> Result<Self, &'static str> {
        let raw: RawPod = serde_json::from_slice(json).map_err(|_| "is not a Pod")?;
        let references = raw.spec.image_pull_secrets.unwrap_or_default();
        Ok(Self {
            uid: raw.metadata.uid,
            mirrors: raw.metadata.annotations.and_then(|mut all| all.remove(MIRROR)),
            image_pull_secrets: references.into_iter().map(|reference| reference.name).collect(),
        })
    }
}

impl Object for Secret {
    const RESOURCE: &'static str = "secrets";

    fn decode(json: &[u8]) -> Result<Self, &'static str> {
        let raw: RawSecret = serde_json::from_slice(json).map_err(|_| "is not a Secret")?;
        let decode = |(key, value): (String, Option<String>)| {
            let bytes = STANDARD.decode(value.unwrap_or_default()).map_err(|_| "is not base64")?;
            Ok::<_, &'static str>((key, bytes))
        };
        let data = raw.data.unwrap_or_default().into_iter().map(decode);
        Ok(Self { uid: raw.metadata.uid, data: data.collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_pod_the_pull_secrets_are_read_in_order() {
        let json = br#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","uid":"1","new":[]},
            "spec":{"containers":[],"imagePullSecrets":[{"name":"b"},{},{"name":"a"}]},"status":{}}"#;
        let pod = Pod::decode(json).unwrap();
        assert_eq!((pod.uid.as_str(), pod.mirrors), ("1", None));
        assert_eq!(pod.image_pull_secrets, ["b", "", "a"]);
        let json = br#"{"metadata":{"uid":"1","annotations":{"kubernetes.io/config.mirror":"f"}},
            "spec":{"imagePullSecrets":null}}"#;
        let pod = Pod::decode(json).unwrap();
        assert_eq!((pod.mirrors.as_deref(), pod.image_pull_secrets.len()), (Some("f"), 0));
        for bad in ["", "[]", "{}", r#"{"metadata":{},"spec":{}}"#, r#"{"metadata":{"uid":"1"}}"#] {
            assert_eq!(Pod::decode(bad.as_bytes()), Err("is not a Pod"), "{bad}");
        }
    }

    #[test]
    fn of_a_secret_the_data_is_decoded() {
        let json = br#"{"metadata":{"uid":"1"},"data":{"a":"YWI=","b":null},"type":"Opaque"}"#;
        let secret = Secret::decode(json).unwrap();
        assert!(!format!("{secret:?}").contains("97"), "{secret:?}");
        assert_eq!(secret.uid, "1");
        assert_eq!(secret.data, [("a".into(), b"ab".to_vec()), ("b".into(), vec![])].into());
        for (bad, problem) in [
            ("{}", "is not a Secret"),
            (r#"{"metadata":{"uid":"1"},"data":{"a":"*"}}"#, "is not base64"),
            (r#"{"metadata":{"uid":"1"},"data":{"a":1}}"#, "is not a Secret"),
        ] {
            assert_eq!(Secret::decode(bad.as_bytes()).err(), Some(problem), "{bad}");
        }
    }
}
