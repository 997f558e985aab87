//! The SELinux label of what pods get to see.
//!
//! Kubelet asks for no relabelling of a volume that pods mount read-only, and nothing that is
//! mounted read-only could be relabelled. So the files must have a label that containers may read
//! from the start. SELinux gives a new file the type of its directory, which a rename does not
//! change: it is enough to label the directories where trees are made and kept, once. The level of
//! a new file is that of the process, `s0` for a privileged container.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};
use rustix::io::Errno;

use super::layout::Layout;

/// The label of image layers in container-selinux, the policy of Fedora, RHEL and those after them:
/// every container may read it, none may write it.
const IMAGE_LAYERS: &str = "system_u:object_r:container_ro_file_t:s0";

/// What a privileged container, or a container runtime, runs as under that policy. Others do not
/// know [`IMAGE_LAYERS`], or mean something else by it.
const DOMAINS: [&str; 2] = ["spc_t", "container_runtime_t"];

/// The attribute that is the label.
const ATTRIBUTE: &str = "security.selinux";

/// The longest label; SELinux' own limit is a page.
const MAX_LENGTH: usize = 4095;

/// A directory could not be labelled.
#[derive(Debug, thiserror::Error)]
#[error("cannot label {} as {label}", path.display())]
pub struct LabelError {
    path: PathBuf,
    label: String,
    source: std::io::Error,
}

/// Whether a text has the form of a label, `user:role:type` and perhaps `:level`.
pub fn is_label(text: &str) -> bool {
    text.len() <= MAX_LENGTH && kind(text).is_some()
}

/// The label that trees should have: none without SELinux, or if `wanted` is empty. Without a wish
/// it is that of image layers, where the node's policy is known to have it.
///
/// `context` is what the process runs as: the content of `/proc/self/attr/current`.
pub fn choose<'a>(wanted: Option<&'a str>, context: &str) -> Option<&'a str> {
    // AppArmor and Smack write there too, in other forms.
    let domain = kind(context.trim_end_matches(['\0', '\n']))?;
    match wanted {
        Some("") => None,
        Some(label) => Some(label),
        None => DOMAINS.contains(&domain).then_some(IMAGE_LAYERS),
    }
}

/// What this process runs as; empty where no security module says so.
pub fn context() -> Cow<'static, str> {
    // EINVAL without a module; and whatever else it is, nothing is known.
    std::fs::read_to_string("/proc/self/attr/current").map_or(Cow::Borrowed(""), Cow::Owned)
}

/// The type of a label.
fn kind(label: &str) -> Option<&str> {
    let parts: Vec<&str> = label.splitn(4, ':').collect();
    let word = |part: &&str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    };
    let printable = label.bytes().all(|b| b.is_ascii_graphic());
    (parts.len() >= 3 && printable && parts.iter().take(3).all(word)).then(|| parts[2])
}

/// Labels the directories where trees are made and kept. Whether one of them was labelled otherwise.
pub(super) fn apply(layout: &Layout, label: &str) -> Result<bool, LabelError> {
    apply_as(layout, ATTRIBUTE, label)
}

/// The same with any attribute.
pub(super) fn apply_as(layout: &Layout, attribute: &str, label: &str) -> Result<bool, LabelError> {
    let mut changed = false;
    for path in [&layout.staging, &layout.trees, &layout.empty] {
        changed |= set(path, attribute, label).map_err(|source| LabelError {
            path: path.clone(),
            label: label.into(),
            source: source.into(),
        })?;
    }
    Ok(changed)
}

fn set(path: &Path, attribute: &str, label: &str) -> Result<bool, Errno> {
    // As C programs write it, and as the kernel gives it back.
    let value = [label.as_bytes(), &[0]].concat();
    let mut present = vec![0; MAX_LENGTH + 1];
    match lgetxattr(path, attribute, present.as_mut_slice()) {
        Ok(length) if present.get(..length) == Some(&value) => return Ok(false),
        // What else is wrong, the next call tells.
        Ok(_) | Err(_) => {}
    }
    lsetxattr(path, attribute, &value, XattrFlags::empty())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "system_u:object_r:data_t:s0";

    #[test]
    fn a_label_is_for_nodes_with_selinux_and_the_default_for_a_known_policy() {
        let spc = "system_u:system_r:spc_t:s0\0";
        for (wanted, context, expected) in [
            (None, spc, Some(IMAGE_LAYERS)),
            (None, "system_u:system_r:container_runtime_t:s0:c0,c1\0", Some(IMAGE_LAYERS)),
            // Bottlerocket and Talos: containers may read what is made below /var as it is.
            (None, "system_u:system_r:control_t:s0-s0:c0.c1023\0", None),
            (None, "system_u:system_r:pod_t:s0", None),
            (Some(OWN), "system_u:system_r:control_t:s0", Some(OWN)),
            (Some(OWN), spc, Some(OWN)),
            (Some(""), spc, None),
            // AppArmor, nothing, and what is no label.
            (Some(OWN), "unconfined\n", None),
            (Some(OWN), "cri-containerd.apparmor.d (enforce)\n", None),
            (None, "a//&:b:spc_t (enforce)\n", None),
            (Some(OWN), "", None),
        ] {
            assert_eq!(choose(wanted, context), expected, "{wanted:?} as {context:?}");
        }
    }

    #[test]
    fn a_label_has_at_least_three_words() {
        for (text, expected) in [
            (IMAGE_LAYERS, true),
            ("system_u:object_r:container_file_t:s0:c1,c2", true),
            ("system_u:object_r:container_file_t", true),
            ("", false),
            ("container_file_t", false),
            ("system_u:object_r", false),
            ("system_u::container_file_t", false),
            ("system_u:object_r:a b:s0", false),
            ("system_u:object_r:a_t:s0\0", false),
            ("system_u:object_r:a_t:s0\n", false),
        ] {
            assert_eq!(is_label(text), expected, "{text:?}");
        }
        assert!(!is_label(&format!("u:r:{}", "t".repeat(MAX_LENGTH))));
    }
}
