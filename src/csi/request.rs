//! Raw requests → typed ones. The order of the checks is csi-sanity's: volume id, target path,
//! capability, and only then what is ours.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use tonic::metadata::MetadataMap;

use super::v1::volume_capability::{AccessMode, AccessType, access_mode::Mode};
use super::v1::{
    NodeGetVolumeStatsRequest, NodePublishVolumeRequest, NodeUnpublishVolumeRequest,
    VolumeCapability,
};
use crate::volume::attributes::{Attributes, AttributesError};
use crate::volume::tokens::{MalformedTokens, ServiceAccountTokens};
use crate::volume::{PublishRequest, UnpublishRequest};

/// Where kubelet puts the tokens of CSIDriver.spec.tokenRequests: among the secrets where the
/// CSIDriver sets `serviceAccountTokenInSecrets` (KEP-5538), else in the volume context.
pub(super) const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// The longest volume id that is accepted, in bytes. Kubelet's have 68.
const MAX_VOLUME_ID: usize = 1024;

/// Why a request is refused before anything is done. All of these are the caller's mistakes.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A required field is empty.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The volume id is longer than anything a CSI orchestrator sends.
    #[error("volume_id has {0} bytes, more than {MAX_VOLUME_ID}")]
    VolumeId(usize),
    /// A path that could mean more than one place.
    #[error("{field} {path:?} must be absolute, without \".\" or \"..\"")]
    Path {
        /// The field.
        field: &'static str,
        /// What it held.
        path: String,
    },
    /// A raw block device was asked for.
    #[error("a skill is a directory: it cannot be a raw block volume")]
    Block,
    /// No access mode was given.
    #[error("volume_capability has no access mode")]
    AccessMode,
    /// A field that has no meaning here; ignoring it would deceive its author.
    #[error("{field} {value:?} has no meaning for a skill volume: remove it")]
    Meaningless {
        /// The field as a pod author writes it.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A persistent volume; only inline ephemeral ones are served.
    #[error(
        "only inline ephemeral volumes are served (pod.spec.volumes[].csi), no persistent ones"
    )]
    NotEphemeral,
    /// The volume attributes.
    #[error("volumeAttributes")]
    Attributes(#[from] AttributesError),
    /// The service-account tokens.
    #[error("{TOKENS}")]
    Tokens(#[from] MalformedTokens),
}

/// A NodePublishVolume request, typed.
pub fn publish(mut request: NodePublishVolumeRequest) -> Result<PublishRequest, RequestError> {
    let volume_id = volume_id(request.volume_id)?;
    let target = absolute("target_path", &request.target_path)?;
    capability(request.volume_capability)?;
    let (attributes, pod) = Attributes::parse(&request.volume_context)?;
    if pod.ephemeral == Some(false) {
        return Err(RequestError::NotEphemeral);
    }
    let tokens = tokens(&mut request.secrets, &request.volume_context)?;
    let secrets: BTreeMap<String, Vec<u8>> =
        request.secrets.into_iter().map(|(key, value)| (key, value.into_bytes())).collect();
    Ok(PublishRequest {
        volume_id,
        target,
        read_only: request.readonly,
        attributes,
        pod: pod.pod,
        secrets,
        tokens,
    })
}

/// Takes the tokens out of the secrets, so that those are the referenced Secret's alone. Their
/// place among the secrets counts first: no Secret can have a key with a slash, but where
/// kubelet uses that place, a pod author may have written the attribute.
fn tokens(
    secrets: &mut HashMap<String, String>,
    context: &HashMap<String, String>,
) -> Result<ServiceAccountTokens, RequestError> {
    let secret = secrets.remove(TOKENS);
    match secret.as_deref().or_else(|| context.get(TOKENS).map(String::as_str)) {
        None | Some("") => Ok(ServiceAccountTokens::default()),
        Some(text) => Ok(ServiceAccountTokens::parse(text)?),
    }
}

/// A NodeUnpublishVolume request, typed.
pub fn unpublish(request: NodeUnpublishVolumeRequest) -> Result<UnpublishRequest, RequestError> {
    Ok(UnpublishRequest {
        volume_id: volume_id(request.volume_id)?,
        target: absolute("target_path", &request.target_path)?,
    })
}

/// A NodeGetVolumeStats request, typed: volume id and path. The path is only compared with
/// where the volume is, never opened: one where nothing can be is not found, as csi-sanity asks.
pub fn stats(request: NodeGetVolumeStatsRequest) -> Result<(String, PathBuf), RequestError> {
    let volume_id = volume_id(request.volume_id)?;
    if request.volume_path.is_empty() {
        return Err(RequestError::Missing("volume_path"));
    }
    Ok((volume_id, request.volume_path.into()))
}

fn volume_id(id: String) -> Result<String, RequestError> {
    match id.len() {
        0 => Err(RequestError::Missing("volume_id")),
        1..=MAX_VOLUME_ID => Ok(id),
        long => Err(RequestError::VolumeId(long)),
    }
}

fn absolute(field: &'static str, text: &str) -> Result<PathBuf, RequestError> {
    if text.is_empty() {
        return Err(RequestError::Missing(field));
    }
    let path = Path::new(text);
    let clean = path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !clean || text.contains('\0') || path.parent().is_none() {
        return Err(RequestError::Path { field, path: text.into() });
    }
    Ok(path.to_owned())
}

/// Any access mode will do: what is published can be read by anybody and written by nobody.
fn capability(capability: Option<VolumeCapability>) -> Result<(), RequestError> {
    let capability = capability.ok_or(RequestError::Missing("volume_capability"))?;
    match capability.access_type {
        None => return Err(RequestError::Missing("volume_capability.access_type")),
        Some(AccessType::Block(_)) => return Err(RequestError::Block),
        Some(AccessType::Mount(mount)) => {
            if !mount.fs_type.is_empty() {
                return Err(RequestError::Meaningless { field: "fsType", value: mount.fs_type });
            }
            if let Some(flag) = mount.mount_flags.into_iter().next() {
                return Err(RequestError::Meaningless { field: "mount flag", value: flag });
            }
        }
    }
    match capability.access_mode {
        Some(AccessMode { mode }) if mode != Mode::Unknown as i32 => Ok(()),
        _ => Err(RequestError::AccessMode),
    }
}

/// The `grpc-timeout` that the caller sent (gRPC over HTTP/2: up to 8 digits and a unit).
pub fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        for (text, expected) in [
            ("120S", Some(Duration::from_secs(120))),
            ("119999871u", None),
            ("11999987u", Some(Duration::from_micros(11_999_987))),
            ("2M", Some(Duration::from_secs(120))),
            ("5m", Some(Duration::from_millis(5))),
            ("", None),
            ("S", None),
            ("-1S", None),
            ("1x", None),
        ] {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            // An empty number is not one.
            assert_eq!(timeout(&metadata), expected, "{text:?}");
        }
    }

    #[test]
    fn tokens_among_the_secrets_count_before_those_in_the_context() {
        let map = |token: Option<&str>| -> HashMap<String, String> {
            let text = token.map(|token| format!(r#"{{"a":{{"token":"{token}"}}}}"#));
            text.map(|text| (TOKENS.to_owned(), text)).into_iter().collect()
        };
        for (secret, context, expected) in [
            (Some("s"), Some("c"), Some("s")),
            (None, Some("c"), Some("c")),
            (Some("s"), None, Some("s")),
            (None, None, None),
        ] {
            let mut secrets = map(secret);
            let found = tokens(&mut secrets, &map(context)).unwrap();
            assert_eq!(found.get("a"), expected);
            assert_eq!(secrets, HashMap::new(), "what is left is the referenced Secret's");
        }
        let malformed = HashMap::from([(TOKENS.to_owned(), "CANARY".to_owned())]);
        let error = tokens(&mut HashMap::new(), &malformed).unwrap_err();
        assert_eq!(
            crate::observability::chain(&error),
            "csi.storage.k8s.io/serviceAccount.tokens: not a JSON object of audiences, each with \
             a `token`"
        );
    }

    #[test]
    fn statistics_may_be_asked_of_any_path() {
        let ask = |id: &str, path: &str| {
            let (volume_id, volume_path) = (id.into(), path.into());
            stats(NodeGetVolumeStatsRequest { volume_id, volume_path, ..Default::default() })
        };
        assert_eq!(ask("v", "some/path").unwrap(), ("v".into(), "some/path".into()));
        assert!(matches!(ask("v", ""), Err(RequestError::Missing("volume_path"))));
        assert!(matches!(ask("", "/path"), Err(RequestError::Missing("volume_id"))));
    }

    #[test]
    fn paths_mean_one_place() {
        for bad in ["relative", "/", "/a/../b", "a/..", "/a\0b"] {
            assert!(matches!(absolute("p", bad), Err(RequestError::Path { .. })), "{bad:?}");
        }
        assert!(matches!(absolute("p", ""), Err(RequestError::Missing("p"))));
        // `.` and doubled slashes vanish when components are compared.
        assert_eq!(absolute("p", "/a//b").unwrap(), Path::new("/a/b"));
    }
}
