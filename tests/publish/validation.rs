//! What is refused before anything is done, in csi-sanity's order: volume id, target path,
//! capability, then what is Skillmount's own.

use skillmount::csi::v1::NodePublishVolumeRequest;
use skillmount::csi::v1::volume_capability::{
    AccessMode, AccessType, BlockVolume, MountVolume, access_mode::Mode,
};

use super::*;

type Change = fn(&mut NodePublishVolumeRequest);

fn access(request: &mut NodePublishVolumeRequest, access: AccessType) {
    request.volume_capability.as_mut().unwrap().access_type = Some(access);
}

fn set(request: &mut NodePublishVolumeRequest, key: &str, value: &str) {
    request.volume_context.insert(key.into(), value.into());
}

const TABLE: &[(Change, &str)] = &[
    (|r| r.volume_id.clear(), "volume_id is missing"),
    (|r| r.volume_id = "x".repeat(1025), "volume_id has 1025 bytes, more than 1024"),
    (|r| r.target_path.clear(), "target_path is missing"),
    (
        |r| r.target_path = "pods/mount".into(),
        "target_path \"pods/mount\" must be absolute, without \".\" or \"..\"",
    ),
    (
        |r| r.target_path = "/pods/../mount".into(),
        "target_path \"/pods/../mount\" must be absolute, without \".\" or \"..\"",
    ),
    (|r| r.volume_capability = None, "volume_capability is missing"),
    (
        |r| r.volume_capability.as_mut().unwrap().access_type = None,
        "volume_capability.access_type is missing",
    ),
    (
        |r| access(r, AccessType::Block(BlockVolume {})),
        "a skill is a directory: it cannot be a raw block volume",
    ),
    (
        |r| r.volume_capability.as_mut().unwrap().access_mode = None,
        "volume_capability has no access mode",
    ),
    (
        |r| {
            let mode = Mode::Unknown.into();
            r.volume_capability.as_mut().unwrap().access_mode = Some(AccessMode { mode });
        },
        "volume_capability has no access mode",
    ),
    (
        |r| {
            let mount = MountVolume { fs_type: "ext4".into(), ..Default::default() };
            access(r, AccessType::Mount(mount));
        },
        "fsType \"ext4\" has no meaning for a skill volume: remove it",
    ),
    (
        |r| {
            let mount = MountVolume { mount_flags: vec!["noatime".into()], ..Default::default() };
            access(r, AccessType::Mount(mount));
        },
        "mount flag \"noatime\" has no meaning for a skill volume: remove it",
    ),
    (
        |r| set(r, "pullpolicy", "Always"),
        "volumeAttributes: unknown attribute \"pullpolicy\"; did you mean \"pullPolicy\"?",
    ),
    (
        |r| drop(r.volume_context.remove("reference")),
        "volumeAttributes: \"reference\" is missing: set it to an OCI reference such as \
         registry.example/team/skill:v1",
    ),
    (
        |r| set(r, "reference", "registry.example/Team/skill:v1"),
        "volumeAttributes: reference \"registry.example/Team/skill:v1\": repository path \
         \"Team/skill\" has upper-case letters, which no registry allows",
    ),
    (
        |r| set(r, "reference", "oci://registry.example/team/skill:v1"),
        "volumeAttributes: reference \"oci://registry.example/team/skill:v1\" starts with a \
         scheme; write it without \"oci://\"",
    ),
    (
        |r| {
            let many: Vec<_> = (0..21).map(|n| format!("registry.example/s:{n}")).collect();
            set(r, "reference", &many.join("\n"));
        },
        "volumeAttributes: 21 references in one volume; at most 20 are allowed",
    ),
    (
        |r| set(r, "layout", "tree"),
        "volumeAttributes: attribute \"layout\" is \"tree\"; it must be one of auto, flat, \
         nested, raw",
    ),
    (
        |r| set(r, "seal", "erofs"),
        "volumeAttributes: attribute \"seal\" is \"erofs\"; it must be one of overlay, bind",
    ),
    (
        |r| set(r, "validation", "Strict"),
        "volumeAttributes: attribute \"validation\" is \"Strict\"; it must be one of none, \
         lenient, strict",
    ),
    (
        |r| {
            set(r, "layout", "flat");
            set(r, "name", "review");
        },
        "volumeAttributes: \"name\" names a directory below the volume's root: it needs layout \
         \"nested\"; with \"flat\" the last element of the mountPath is the name that agents see",
    ),
    (
        |r| {
            set(r, "reference", "registry.example/a:1 registry.example/b:1");
            set(r, "name", "review");
        },
        "volumeAttributes: \"name\" names one skill, but there are several references",
    ),
    (
        |r| {
            set(r, "layout", "raw");
            set(r, "skills", "a");
        },
        "volumeAttributes: layout \"raw\" shows one artifact as it is: no \"skills\", and one \
         reference",
    ),
    (
        |r| {
            set(r, "reference", "registry.example/a:1 registry.example/b:1");
            set(r, "layout", "flat");
        },
        "volumeAttributes: layout \"flat\" shows one skill; several references need \"nested\"",
    ),
    (
        |r| set(r, "csi.storage.k8s.io/ephemeral", "false"),
        "only inline ephemeral volumes are served (pod.spec.volumes[].csi), no persistent ones",
    ),
    (
        |r| {
            set(r, "seal", "bind");
            r.readonly = false;
        },
        "attribute seal \"bind\" needs readOnly: true on the pod's csi volume: without it a \
         container could remount the files writable",
    ),
];

#[test]
fn what_cannot_be_is_refused_with_its_name() {
    run("validation::what_cannot_be_is_refused_with_its_name", async {
        let (registry, driver) = start(Options::default()).await;
        let volume = driver.volume("csi-1", &registry.reference("team/code-review", "v1"));
        let mut wrong = vec![];
        for (change, expected) in TABLE {
            let mut request = volume.publish();
            change(&mut request);
            let status = driver.client().node().node_publish_volume(request).await.unwrap_err();
            if (status.code(), status.message()) != (Code::InvalidArgument, *expected) {
                wrong.push(format!("{:?} {}\n  not {expected}", status.code(), status.message()));
            }
            assert!(status.details().is_empty(), "the CSI specification forbids details");
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(!volume.target.exists());
        assert_eq!(registry.lines(), [""; 0]);
        assert_clean(&driver.root);
    });
}

#[test]
fn the_first_mistake_in_the_order_of_csi_sanity_is_named() {
    run("validation::the_first_mistake_in_the_order_of_csi_sanity_is_named", async {
        let (registry, driver) = start(Options::default()).await;
        let right = driver.volume("csi-1", &registry.reference("team/code-review", "v1")).publish();
        let mut request = NodePublishVolumeRequest {
            volume_context: [("referense".to_owned(), String::new())].into(),
            ..Default::default()
        };
        let repairs: [(&str, fn(&mut NodePublishVolumeRequest, &NodePublishVolumeRequest)); 4] = [
            ("volume_id is missing", |r, right| r.volume_id.clone_from(&right.volume_id)),
            ("target_path is missing", |r, right| r.target_path.clone_from(&right.target_path)),
            ("volume_capability is missing", |r, right| {
                r.volume_capability.clone_from(&right.volume_capability);
            }),
            (
                "volumeAttributes: unknown attribute \"referense\"; did you mean \"reference\"?",
                |r, right| r.volume_context.clone_from(&right.volume_context),
            ),
        ];
        for (expected, repair) in repairs {
            let mut node = driver.client().node();
            let status = node.node_publish_volume(request.clone()).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::InvalidArgument, expected));
            repair(&mut request, &right);
        }
        driver.client().node().node_publish_volume(request).await.unwrap();
    });
}

#[test]
fn unpublish_and_stats_need_an_id_and_a_path() {
    use skillmount::csi::v1::{NodeGetVolumeStatsRequest, NodeUnpublishVolumeRequest};
    run("validation::unpublish_and_stats_need_an_id_and_a_path", async {
        let (_registry, driver) = start(Options::default()).await;
        let relative = "target_path \"x\" must be absolute, without \".\" or \"..\"";
        // Statistics are of what is published, and nothing is at a relative path.
        let unknown = "volume a is not published on this node";
        for (id, path, unpublish, stats) in [
            ("", "/x", "volume_id is missing", (Code::InvalidArgument, "volume_id is missing")),
            ("a", "", "target_path is missing", (Code::InvalidArgument, "volume_path is missing")),
            ("a", "x", relative, (Code::NotFound, unknown)),
        ] {
            let request =
                NodeUnpublishVolumeRequest { volume_id: id.into(), target_path: path.into() };
            let status = driver.client().node().node_unpublish_volume(request).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::InvalidArgument, unpublish));
            let request = NodeGetVolumeStatsRequest {
                volume_id: id.into(),
                volume_path: path.into(),
                ..Default::default()
            };
            let status = driver.client().node().node_get_volume_stats(request).await.unwrap_err();
            assert_eq!((status.code(), status.message()), stats);
        }
    });
}
