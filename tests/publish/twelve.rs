//! Twelve skills of five artifacts in three registries, each with a login of its own, in one
//! volume.

use serde_json::json;

use super::*;
use crate::support::User;
use crate::support::artifacts::Children;
use crate::support::skills::Skill;

const NAMES: [&str; 12] = [
    "code-review",
    "docs-writer",
    "changelog",
    "triage",
    "release-notes",
    "sql-style",
    "api-design",
    "threat-model",
    "runbook",
    "postmortem",
    "alerting",
    "capacity",
];

struct Team {
    registries: [Registry; 3],
    references: [String; 5],
}

fn skill(name: &str) -> Skill {
    let skill = Skill::new(name, "Does it.");
    skill.file("scripts/run.sh", format!("#!/bin/sh\necho {name}\n"), 0o755)
}

fn login(number: usize) -> User {
    User::new(&format!("user-{number}"), &format!("{CANARY}-{number}"))
}

fn team() -> Team {
    let registries = [0, 1, 2].map(|number| Registry::start(Options::basic([login(number)])));
    let skills: Vec<Skill> = NAMES.iter().map(|name| skill(name)).collect();
    let [a, b, c] = &registries;
    artifacts::skillimage_bundle(a, "acme/bundle", "1", &skills[..4]);
    artifacts::toolhive(a, "acme/release-notes", "1", &skills[4]);
    let children = Children::SameRepository;
    artifacts::agentskills_collection(b, "team/collection", "1", &skills[5..8], children);
    artifacts::oras_dirs(b, "team/directories", "1", &skills[8..10]);
    artifacts::agent_plugin(c, "plugins/ops", "1", &skills[10..]);
    let references = [
        a.reference("acme/bundle", "1"),
        a.reference("acme/release-notes", "1"),
        b.reference("team/collection", "1"),
        b.reference("team/directories", "1"),
        c.reference("plugins/ops", "1"),
    ];
    Team { registries, references }
}

impl Team {
    /// A volume of all, with these logins' passwords.
    fn volume(&self, driver: &Driver, id: &str, passwords: [usize; 3]) -> Volume {
        let auths = self.registries.iter().zip(passwords).enumerate().map(|(number, (r, p))| {
            let (user, password) = (format!("user-{number}"), format!("{CANARY}-{p}"));
            (r.host(), json!({"username": user, "password": password}))
        });
        let auths: serde_json::Map<_, _> = auths.collect();
        let secret = json!({"auths": auths}).to_string();
        driver
            .volume(id, &format!("\n{}\n", self.references.join("\n")))
            .raw_secret(".dockerconfigjson", &secret)
    }
}

/// What the volume shows: ToolHive's packager drops the executable bits.
fn expected() -> Vec<String> {
    let mut lines = Vec::new();
    for name in NAMES {
        lines.push(format!("drwxr-xr-x {name}"));
        for line in skill(name).listing() {
            let (mode, path) = line.split_once(' ').unwrap();
            let mode = match (name, mode) {
                ("release-notes", "-rwxr-xr-x") => "-rw-r--r--",
                (_, mode) => mode,
            };
            lines.push(format!("{mode} {name}/{path}"));
        }
    }
    lines.sort_by(|a, b| a[11..].split(' ').next().cmp(&b[11..].split(' ').next()));
    lines
}

#[test]
fn twelve_skills_of_five_artifacts_are_one_mount() {
    run("twelve::twelve_skills_of_five_artifacts_are_one_mount", async {
        let team = team();
        let driver = Driver::start(&namespace::scratch(), Setup::default()).await;
        let volume = team.volume(&driver, "csi-1", [0, 1, 2]);
        driver.publish(&volume).await.unwrap();
        assert_eq!(tree::listing(&volume.target), expected());
        for name in NAMES {
            let script = fs::read_to_string(volume.target.join(name).join("scripts/run.sh"));
            assert_eq!(script.unwrap(), format!("#!/bin/sh\necho {name}\n"));
        }
        assert_eq!(mounts(&driver.root).len(), 1);
        for (number, registry) in team.registries.iter().enumerate() {
            let with = registry.requests().into_iter().filter_map(|r| r.authorization);
            let shown: std::collections::BTreeSet<_> = with.collect();
            assert_eq!(shown.len(), 1, "registry {number} saw no login but its own: {shown:?}");
        }
        driver.unpublish(&volume).await.unwrap();
        assert_clean(&driver.root);
    });
}

#[test]
fn one_of_five_artifacts_that_fails_is_named() {
    run("twelve::one_of_five_artifacts_that_fails_is_named", async {
        let team = team();
        let driver = Driver::start(&namespace::scratch(), Setup::default()).await;
        let volume = team.volume(&driver, "csi-1", [0, 1, 0]);
        let (code, message) = refused(driver.publish(&volume).await);
        assert_eq!(code, Code::Unauthenticated, "{message}");
        let failing = &team.references[4];
        assert!(message.starts_with(&format!("cannot pull {failing} (logins: ")), "{message}");
        for other in &team.references[..4] {
            assert!(!message.contains(other), "{message}");
        }
        assert!(!message.contains(CANARY), "{message}");
        // The other pulls may go on: the next try finds them.
        assert_eq!(mounts(&driver.root), []);
        assert!(!volume.target.exists());
        // The secret is corrected, and kubelet tries again.
        let volume = team.volume(&driver, "csi-1", [0, 1, 2]);
        driver.publish(&volume).await.unwrap();
        assert_eq!(tree::listing(&volume.target), expected());
        driver.unpublish(&volume).await.unwrap();
        // Pulls of the first try may still be at work until the driver has ended.
        let root = driver.root.clone();
        driver.stop().await;
        assert_clean(&root);
    });
}
