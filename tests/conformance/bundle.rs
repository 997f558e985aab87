//! The DaemonSet's container as an OCI runtime's configuration: what kubelet and a runtime's CRI
//! server make of the manifest, with the manifest's own paths.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::yaml::{self, Node};

/// The capabilities by their numbers (capability.h).
const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The pod of the DaemonSet.
pub(crate) struct Pod(Node);

impl Pod {
    /// That of the base, which overlays change in names and paths only.
    pub(crate) fn of_the_base() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = path.join("deploy/kustomize/base/daemonset.yaml");
        let documents = yaml::parse(&fs::read_to_string(path).unwrap()).unwrap();
        Self(documents[0].at("spec/template/spec").clone())
    }

    fn container(&self) -> &Node {
        &self.0.list("containers")[0]
    }

    /// How long kubelet waits between SIGTERM and SIGKILL.
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(self.0.text("terminationGracePeriodSeconds").parse().unwrap())
    }

    /// Makes the directories of the host that are mounted, as kubelet does; a ConfigMap becomes
    /// `config_map`.
    pub(crate) fn prepare(&self) {
        for volume in self.0.list("volumes") {
            if let Some(host) = volume.find("hostPath") {
                // DirectoryOrCreate; and kubelet's own, of type Directory.
                fs::create_dir_all(host.text("path")).unwrap();
            }
        }
    }

    /// The runtime's configuration. `image` is what the image's own configuration makes of it, as
    /// umoci writes it; `arguments` come after the manifest's; `config_map` holds the files of
    /// every ConfigMap; `etc` those that kubelet writes for every pod.
    pub(crate) fn config(
        &self,
        image: &Value,
        arguments: &[String],
        config_map: &Path,
        etc: &Path,
    ) -> Value {
        let container = self.container();
        let security = container.at("securityContext");
        assert_eq!(security.text("privileged"), "true", "what follows is for a privileged one");
        let args = image["process"]["args"].as_array().unwrap().iter().cloned();
        let own = container.list("args").iter().map(Node::scalar).map(Value::from);
        let args: Vec<_> =
            args.chain(own).chain(arguments.iter().cloned().map(Value::from)).collect();
        let variables = image["process"]["env"].as_array().unwrap().iter().cloned();
        let variables: Vec<_> =
            variables.chain(container.list("env").iter().map(variable)).collect();
        let id = |key| security.text(key).parse::<u32>().unwrap();
        let capabilities = current_capabilities();
        let namespaces = ["pid", "ipc", "uts", "mount"].map(|kind| json!({"type": kind}));
        // No seccomp and no masked paths, as for every privileged container; and no network
        // namespace: that of the pod is the caller's.
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "args": args,
                "env": variables,
                "cwd": "/",
                "user": {"uid": id("runAsUser"), "gid": id("runAsGroup")},
                "capabilities": {
                    "bounding": capabilities,
                    "effective": capabilities,
                    "permitted": capabilities,
                },
            },
            "root": {
                "path": "rootfs",
                "readonly": security.text("readOnlyRootFilesystem") == "true",
            },
            "hostname": "skillmount-node",
            "mounts": self.mounts(config_map, etc),
            "linux": {
                "namespaces": namespaces,
                "rootfsPropagation": "rshared",
                "resources": {
                    "devices": [{"allow": true, "access": "rwm"}],
                    "memory": {"limit": bytes(container.text("resources/limits/memory"))},
                },
            },
        })
    }

    fn mounts(&self, config_map: &Path, etc: &Path) -> Vec<Value> {
        let system = |to: &str, kind: &str, options: &[&str]| json!({"destination": to, "type": kind, "source": kind, "options": options});
        let quiet = ["nosuid", "noexec", "nodev"];
        let mut mounts = vec![
            system("/proc", "proc", &quiet),
            system("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            system(
                "/dev/pts",
                "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            ),
            system("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            system("/dev/mqueue", "mqueue", &quiet),
            system("/sys", "sysfs", &quiet),
        ];
        for file in ["hosts", "hostname", "resolv.conf"] {
            let to = Path::new("/etc").join(file);
            mounts.push(bind(&etc.join(file), to.to_str().unwrap(), &["rprivate", "rw"]));
        }
        for mount in self.container().list("volumeMounts") {
            let volume = self.0.named("volumes", mount.text("name"));
            let source = match volume.find("hostPath") {
                Some(host) => Path::new(host.text("path")),
                None => config_map,
            };
            let propagation = match mount.find("mountPropagation").map(Node::scalar) {
                None | Some("None") => "rprivate",
                Some("HostToContainer") => "rslave",
                Some("Bidirectional") => "rshared",
                Some(other) => panic!("{other:?} is no propagation"),
            };
            let read_only = mount.find("readOnly").is_some_and(|value| value.scalar() == "true");
            let access = if read_only { "ro" } else { "rw" };
            mounts.push(bind(source, mount.text("mountPath"), &[propagation, access]));
        }
        mounts
    }
}

fn bind(source: &Path, destination: &str, options: &[&str]) -> Value {
    let options: Vec<_> = ["rbind"].iter().chain(options).collect();
    json!({"destination": destination, "type": "bind", "source": source, "options": options})
}

/// `NAME=value`; kubelet asks the node for its name, which is node-1 here.
fn variable(variable: &Node) -> Value {
    let value = match variable.find("value") {
        Some(value) => value.scalar(),
        None => {
            assert_eq!(variable.text("valueFrom/fieldRef/fieldPath"), "spec.nodeName");
            "node-1"
        }
    };
    format!("{}={value}", variable.text("name")).into()
}

/// All that the runtime has itself: so does containerd for privileged containers.
fn current_capabilities() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let bits = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap();
    let bits = u64::from_str_radix(bits.trim(), 16).unwrap();
    let named = CAPABILITIES.iter().enumerate();
    named.filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| format!("CAP_{name}")).collect()
}

/// A quantity of memory.
fn bytes(quantity: &str) -> u64 {
    let number = quantity.strip_suffix("Mi").expect("a quantity in Mi");
    number.parse::<u64>().unwrap() << 20
}
