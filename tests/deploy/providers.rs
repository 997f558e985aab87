//! The component for credential providers: what it adds to the DaemonSet of the base.

use super::*;

#[test]
fn providers_are_mounted_read_only_where_the_driver_looks() {
    let patch = load(&root().join("kustomize/components/credential-providers/daemonset.yaml"));
    let patch = &patch[0];
    let base = base("daemonset.yaml");
    for field in ["kind", "metadata/name"] {
        assert_eq!(patch.text(field), base.text(field));
    }
    let spec = patch.at("spec/template/spec");
    let added = &spec.list("containers")[0];
    assert_eq!(added.text("name"), container().text("name"));
    let variables = added.list("env").iter();
    let found: Vec<_> = variables.map(|v| (v.text("name"), v.text("value"))).collect();
    let mounts = added.list("volumeMounts").iter();
    let mounts: Vec<_> = mounts
        .map(|mount| (mount.text("name"), mount.text("mountPath"), mount.text("readOnly")))
        .collect();
    let [config, bin] = ["config", "bin"].map(|name| format!("/etc/skillmount/providers/{name}"));
    assert_eq!(
        found,
        [
            ("SKILLMOUNT_IMAGE_CREDENTIAL_PROVIDER_CONFIG", config.as_str()),
            ("SKILLMOUNT_IMAGE_CREDENTIAL_PROVIDER_BIN_DIR", bin.as_str()),
        ]
    );
    assert_eq!(mounts, [("provider-config", &*config, "true"), ("provider-bin", &*bin, "true")]);
    let limit = |container: &Node| -> u32 {
        let text = container.text("resources/limits/memory").to_owned();
        text.strip_suffix("Mi").unwrap().parse().unwrap()
    };
    assert!(limit(added) > limit(&container()), "programs need memory of their own");
    // Flags and variables exist: the table of the driver's flags has them.
    let table = include_str!("../../docs/install.md");
    for (name, _) in found {
        assert!(table.contains(&format!("`{name}`")), "{name}");
    }
    for name in ["provider-config", "provider-bin"] {
        let path = spec.named("volumes", name).text("hostPath/path");
        assert!(path.starts_with('/'), "{path}");
        assert!(pod_spec().list("volumes").iter().all(|volume| volume.text("name") != name));
    }
}
