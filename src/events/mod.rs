//! Events on pods: what becomes of a pod's skills, in the reasons and the words that kubelet has
//! for its images, for whoever looks at the pod with `kubectl describe`.
//!
//! Nothing depends on them. [`Events::tell`] puts one into a short queue and never waits; one
//! [`Writer`] takes them out and asks the API server. What cannot be told is counted.

mod history;
mod timestamp;
mod wording;
mod writer;

use std::path::{Component, Path};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

pub use wording::Event;
pub use writer::Writer;

use crate::kube::{Api, Name};
use crate::observability::metrics::{EventOutcome, Metrics};
use crate::store::Pod;

/// How many events wait for the API server, of all pods.
const QUEUE: usize = 256;

/// The longest uid, in bytes. The API server's have 36, kubelet's of static pods 32.
const MAX_UID: usize = 64;

/// How long the events that still wait may take when the driver stops.
pub const DRAIN: Duration = Duration::from_secs(1);

/// Who tells.
#[derive(Debug, Clone)]
pub struct Reporter {
    /// The driver's name.
    pub driver: String,
    /// This node's name.
    pub node: String,
}

/// Where events go. Clones share one queue.
#[derive(Debug, Clone)]
pub struct Events {
    queue: mpsc::Sender<Told>,
    metrics: Metrics,
}

/// Whom events are about: a volume of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub(crate) namespace: Name,
    pub(crate) pod: Name,
    pub(crate) uid: String,
    /// The volume's name in the pod, where the target path tells it.
    pub(crate) volume: Option<Name>,
}

/// An event that waits.
#[derive(Debug)]
struct Told {
    about: Arc<Subject>,
    kind: &'static str,
    reason: &'static str,
    message: String,
    at: SystemTime,
}

impl Events {
    /// A queue, and what empties it: to be run in a task of its own.
    pub fn new(api: Api, reporter: Reporter, metrics: Metrics) -> (Self, Writer) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        metrics.events();
        let writer = Writer::new(api, reporter, waiting, metrics.clone());
        (Self { queue, metrics }, writer)
    }

    /// Tells. Never waits: where the queue is full the event is lost.
    pub fn tell(&self, about: &Arc<Subject>, event: &Event<'_>) {
        let told = Told {
            about: about.clone(),
            kind: event.kind(),
            reason: event.reason(),
            message: event.message(),
            at: SystemTime::now(),
        };
        if self.queue.try_send(told).is_err() {
            self.metrics.event(EventOutcome::Dropped);
        }
    }
}

impl Subject {
    /// The pod that kubelet names, with the volume at `target`; none if kubelet does not say
    /// which pod it is, or says what no pod is called.
    pub fn of(pod: &Pod, target: &Path) -> Option<Self> {
        let uid = Some(pod.uid.clone()).filter(|uid| (1..=MAX_UID).contains(&uid.len()))?;
        Some(Self {
            namespace: pod.namespace.parse().ok()?,
            pod: pod.name.parse().ok()?,
            uid,
            volume: volume(target),
        })
    }
}

/// Kubelet mounts at `pods/<uid>/volumes/kubernetes.io~csi/<name>/mount`.
fn volume(target: &Path) -> Option<Name> {
    let mut parts = target.components().rev().map(|part| match part {
        Component::Normal(text) => text.to_str(),
        _ => None,
    });
    let mut next = || parts.next().flatten();
    let is_mount = next()? == "mount";
    let name = next()?;
    (is_mount && next()? == "kubernetes.io~csi" && next()? == "volumes")
        .then(|| name.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_volumes_name_is_in_kubelets_path() {
        let kubelet = "/var/lib/kubelet/pods/0768eb6d/volumes/kubernetes.io~csi";
        for (target, expected) in [
            (format!("{kubelet}/skills/mount"), Some("skills")),
            (format!("{kubelet}/Skills/mount"), None),
            (format!("{kubelet}/skills/mnt"), None),
            ("/var/lib/kubelet/pods/0768eb6d/volumes/other/skills/mount".into(), None),
            ("/skills/mount".into(), None),
            ("/mount".into(), None),
        ] {
            let found = volume(Path::new(&target));
            assert_eq!(found.as_ref().map(Name::as_str), expected, "{target}");
        }
    }

    #[test]
    fn a_pod_has_a_name_a_namespace_and_a_uid() {
        let pod = |namespace: &str, name: &str, uid: &str| Pod {
            name: name.into(),
            namespace: namespace.into(),
            uid: uid.into(),
            service_account: "default".into(),
        };
        let target = Path::new("/mount");
        assert!(Subject::of(&pod("team", "agent", "1"), target).is_some());
        for (namespace, name, uid) in [
            ("", "agent", "1"),
            ("team", "", "1"),
            ("team", "agent", ""),
            ("team/../kube-system", "agent", "1"),
            ("team", "agent", &"1".repeat(MAX_UID + 1)),
        ] {
            assert_eq!(Subject::of(&pod(namespace, name, uid), target), None);
        }
    }
}
