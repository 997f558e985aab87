//! What pods are told of their skills, as the API server gets it.

mod nobody_waits;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::support::auth::User;
use crate::support::driver::POD_UID;
use crate::support::kube_api::{DRIVER_TOKEN, KubeApi};
use crate::support::{Fault, Gate, On, Tar};

/// Where events of the pod's namespace are made.
const MAKE: &str = "/api/v1/namespaces/team/events";

/// A registry, an API server, and a driver that tells.
struct Scene {
    registry: Registry,
    api: KubeApi,
    driver: Driver,
}

impl Scene {
    async fn new(options: Options) -> Self {
        Self::patient(options, Duration::ZERO).await
    }

    /// With a back-off.
    async fn patient(options: Options, backoff: Duration) -> Self {
        let registry = Registry::start(options);
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        let (root, api) = (namespace::scratch(), KubeApi::start().await);
        let setup = Setup { events: Some(api.events(&root)), backoff, ..Setup::default() };
        let driver = Driver::start(&root, setup).await;
        Self { registry, api, driver }
    }

    fn reference(&self) -> String {
        self.registry.reference("team/code-review", "v1")
    }

    /// What was told, once all of it is: pod, type, reason, message and count.
    async fn told(self) -> Vec<String> {
        self.driver.stop().await;
        self.api.all_events().iter().map(line).collect()
    }

    /// Waits until so many events have come to an end of this kind.
    async fn counted(&self, outcome: &str, count: usize) {
        let series = format!("skillmount_events_total{{outcome=\"{outcome}\"}} {count}");
        while !self.driver.series("skillmount_events_total").contains(&series) {
            tokio::task::yield_now().await;
        }
    }
}

fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {event}"))
}

/// The message with the times that a pull took replaced by `T`.
fn timeless(message: &str) -> String {
    let Some((before, rest)) = message.split_once(" in ") else { return message.into() };
    let (took, rest) = rest.split_once(" (").unwrap();
    let (waited, rest) = rest.split_once(' ').unwrap();
    for time in [took, waited] {
        assert!(time.ends_with('s') && time.starts_with(|c: char| c.is_ascii_digit()), "{time}");
    }
    format!("{before} in T (T {rest}")
}

fn line(event: &Value) -> String {
    format!(
        "{} {} {} {} x{}",
        text(event, "/involvedObject/name"),
        text(event, "/type"),
        text(event, "/reason"),
        timeless(text(event, "/message")),
        event["count"]
    )
}

fn pulling(pod: &str, reference: &str) -> String {
    format!("{pod} Normal Pulling Pulling skill \"{reference}\" x1")
}

fn pulled(pod: &str, reference: &str, skill: &support::Skill) -> String {
    let bytes: usize = skill.files.values().map(|file| file.content.len()).sum();
    format!(
        "{pod} Normal Pulled Successfully pulled skill \"{reference}\" in T (T including waiting). \
         Skill size: {bytes} bytes. x1"
    )
}

fn present(pod: &str, reference: &str, count: u32) -> String {
    format!("{pod} Normal Pulled Skill \"{reference}\" already present on node x{count}")
}

/// The volume for another pod.
fn of_pod(volume: Volume, name: &str) -> Volume {
    let volume = volume.attribute("csi.storage.k8s.io/pod.name", name);
    volume.attribute("csi.storage.k8s.io/pod.uid", &format!("uid-of-{name}"))
}

#[test]
fn an_event_is_what_kubelet_would_write() {
    run("events::an_event_is_what_kubelet_would_write", async {
        let scene = Scene::new(Options::default()).await;
        let mut volume = scene.driver.volume("csi-1", &scene.reference());
        let directory = volume.target.with_file_name("volumes/kubernetes.io~csi/skills");
        fs::create_dir_all(&directory).unwrap();
        volume.target = directory.join("mount");
        scene.driver.publish(&volume).await.unwrap();
        scene.api.wait_for_asked(2).await;
        let [event, _] = &scene.api.all_events()[..] else { panic!("two events") };
        let (name, time) = (text(event, "/metadata/name"), text(event, "/firstTimestamp"));
        let since = name.strip_prefix("agent.").unwrap();
        let nanos = u64::from_str_radix(since, 16).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!(now.as_nanos() - u128::from(nanos) < 600_000_000_000, "{nanos}");
        assert_eq!((time.len(), &time[10..11], &time[19..]), (20, "T", "Z"));
        let reference = scene.reference();
        let expected = json!({
            "kind": "Event", "apiVersion": "v1",
            "metadata": {"name": name, "namespace": "team"},
            "involvedObject": {
                "apiVersion": "v1", "kind": "Pod", "namespace": "team", "name": "agent",
                "uid": POD_UID, "fieldPath": "spec.volumes{skills}",
            },
            "type": "Normal", "reason": "Pulling",
            "message": format!("Pulling skill \"{reference}\""),
            "firstTimestamp": time, "lastTimestamp": time, "count": 1,
            "source": {"component": "csi.skillmount.dev", "host": "node-1"},
            "reportingComponent": "csi.skillmount.dev", "reportingInstance": "node-1",
        });
        assert_eq!(*event, expected);
        let asked = scene.api.asked();
        let lines: Vec<_> = asked.iter().map(|asked| asked.line()).collect();
        assert_eq!(lines, vec![format!("POST {MAKE} as {DRIVER_TOKEN} 201"); 2]);
    });
}

#[test]
fn each_pod_is_told_of_its_own_and_once() {
    run("events::each_pod_is_told_of_its_own_and_once", async {
        let scene = Scene::new(Options::default()).await;
        let reference = scene.reference();
        let first = scene.driver.volume("csi-1", &reference);
        let second = of_pod(scene.driver.volume("csi-2", &reference), "second");
        let always = of_pod(scene.driver.volume("csi-3", &reference), "always");
        let always = always.attribute("pullPolicy", "Always");
        for volume in [&first, &second, &always] {
            scene.driver.publish(volume).await.unwrap();
            // As after a restart of kubelet.
            scene.driver.publish(volume).await.unwrap();
        }
        // Started anew under its name: what has been told is not forgotten.
        scene.driver.unpublish(&second).await.unwrap();
        scene.driver.publish(&second).await.unwrap();
        let skill = skills::code_review();
        let expected = [
            pulling("agent", &reference),
            pulled("agent", &reference, &skill),
            present("second", &reference, 2),
            pulling("always", &reference),
            pulled("always", &reference, &skill),
        ];
        assert_eq!(scene.told().await, expected);
    });
}

#[test]
fn who_shares_a_pull_is_told_of_it() {
    run("events::who_shares_a_pull_is_told_of_it", async {
        let scene = Scene::new(Options::default()).await;
        let (reference, gate) = (scene.reference(), Gate::held());
        let layer = &scene.registry.layers("team/code-review", "v1")[0];
        scene.registry.fault(On::blob(layer), Fault::Stall(gate.clone()));
        let publish = |name: &str| {
            let volume = of_pod(scene.driver.volume(name, &reference), name);
            let client = scene.driver.client();
            tokio::spawn(async move { client.publish(&volume).await })
        };
        let first = publish("first");
        gate.wait_for_waiting(1).await;
        let second = publish("second");
        scene.api.wait_for_asked(2).await;
        gate.release();
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
        assert_eq!(scene.registry.count("GET", "/blobs/"), 2, "a config and a layer");
        let skill = skills::code_review();
        let mut told = scene.told().await;
        told.sort();
        let mut expected = ["first", "second"]
            .map(|pod| [pulled(pod, &reference, &skill), pulling(pod, &reference)])
            .concat();
        expected.sort();
        assert_eq!(told, expected);
    });
}

#[test]
fn a_pull_that_outlasts_the_call_is_told_when_the_next_one_finds_it() {
    run("events::a_pull_that_outlasts_the_call_is_told_when_the_next_one_finds_it", async {
        let scene = Scene::new(Options::default()).await;
        let (reference, gate) = (scene.reference(), Gate::held());
        let layer = &scene.registry.layers("team/code-review", "v1")[0];
        scene.registry.fault(On::blob(layer), Fault::Stall(gate.clone()));
        let volume = scene.driver.volume("csi-1", &reference);
        for _ in 0..2 {
            // Whether the driver answers in time or the caller gives up.
            refused(scene.driver.publish_within(&volume, Duration::from_secs(1)).await);
        }
        gate.release();
        flushed(&scene.driver.root).await;
        let trees = scene.driver.root.join("state/trees");
        while names(&trees).len() < 2 {
            tokio::task::yield_now().await;
        }
        let skill = skills::code_review();
        let expected = [pulling("agent", &reference), pulled("agent", &reference, &skill)];
        while let Err(status) = scene.driver.publish(&volume).await {
            assert_eq!(status.code(), Code::Aborted, "the earlier call is still at work");
        }
        assert_eq!(scene.told().await, expected);
    });
}

#[test]
fn a_failure_is_told_with_its_causes_and_a_pause_without() {
    run("events::a_failure_is_told_with_its_causes_and_a_pause_without", async {
        let options = Options::basic([User::new("agent", CANARY)]);
        let scene = Scene::patient(options, Duration::from_secs(300)).await;
        let (reference, host) = (scene.reference(), scene.registry.host());
        let wrong = scene.driver.volume("csi-1", &reference).secret(&host, "agent", "CANARY-no");
        let (code, message) = refused(scene.driver.publish(&wrong).await);
        assert_eq!(code, Code::Unauthenticated);
        for _ in 0..3 {
            let (_, message) = refused(scene.driver.publish(&wrong).await);
            assert!(message.starts_with("Back-off pulling "), "{message}");
        }
        let right = scene.driver.volume("csi-1", &reference).secret(&host, "agent", CANARY);
        scene.driver.publish(&right).await.unwrap();
        let problem = message.strip_prefix(&format!("cannot pull {reference}")).unwrap();
        let expected = [
            // A second try with another secret: the same sentence.
            pulling("agent", &reference).replace("x1", "x2"),
            format!("agent Warning Failed Failed to pull skill \"{reference}\"{problem} x1"),
            format!("agent Normal BackOff Back-off pulling skill \"{reference}\" x3"),
            pulled("agent", &reference, &skills::code_review()),
        ];
        assert_eq!(scene.told().await, expected);
    });
}

#[test]
fn what_is_not_pulled_is_not_said_to_be() {
    run("events::what_is_not_pulled_is_not_said_to_be", async {
        let scene = Scene::new(Options::default()).await;
        let reference = scene.reference();
        let never = scene.driver.volume("csi-1", &reference).attribute("pullPolicy", "Never");
        assert_eq!(refused(scene.driver.publish(&never).await).0, Code::NotFound);
        // Kubelet tells what is wrong with the rest of a volume.
        let typo = scene.driver.volume("csi-2", &reference).attribute("skills", "code-revue");
        assert_eq!(refused(scene.driver.publish(&typo).await).0, Code::InvalidArgument);
        let mut nobodys = scene.driver.volume("csi-3", &reference).publish();
        nobodys.volume_context.retain(|key, _| !key.starts_with("csi.storage.k8s.io/pod."));
        scene.driver.client().node().node_publish_volume(nobodys).await.unwrap();
        let expected = [
            format!(
                "agent Warning ErrImageNeverPull Skill \"{reference}\" is not present with pull \
                 policy of Never x1"
            ),
            pulling("agent", &reference),
            pulled("agent", &reference, &skills::code_review()),
        ];
        assert_eq!(scene.told().await, expected);
    });
}

#[test]
fn warnings_are_told_in_one_event_for_each_reference() {
    run("events::warnings_are_told_in_one_event_for_each_reference", async {
        let scene = Scene::new(Options::default()).await;
        let skill_md = |text: &str| Tar::new().file("SKILL.md", text, 0o644);
        let untidy = skill_md("---\nname: review\n---\n# Review\n");
        let mut wordy = skill_md("---\nname: wordy\ndescription: a\n---\n");
        // Each of these is a finding.
        for number in 0..20 {
            let twice = format!("é-{number}");
            wordy = wordy.file(&twice, "a", 0o755).file(&twice, "a", 0o644);
        }
        for (repository, tar) in [("team/untidy", untidy), ("team/wordy", wordy)] {
            let layer = artifacts::Layer::gzip(tar.build());
            artifacts::image(&scene.registry, repository, "v1", &[layer]);
        }
        let references = ["team/untidy", "team/wordy", "team/code-review"]
            .map(|repository| scene.registry.reference(repository, "v1"));
        let volume = scene.driver.volume("csi-1", &references.join("\n"));
        scene.driver.publish(&volume).await.unwrap();
        scene.driver.publish(&volume).await.unwrap();
        let told = scene.told().await;
        let warnings: Vec<_> = told.iter().filter(|line| line.contains(" Warning ")).collect();
        let [untidy, wordy] = warnings[..] else { panic!("{warnings:#?}") };
        let [first, second, _] = &references;
        assert_eq!(
            *untidy,
            format!(
                "agent Warning SkillWarning Skill \"{first}\": SKILL.md: has no description \
                 [agentskills.io: description]; the skill is named \"review\" by SKILL.md, but the \
                 repository says \"untidy\" [agentskills.io: name] x1"
            )
        );
        let beginning =
            format!("agent Warning SkillWarning Skill \"{second}\": \"é-0\" occurs twice, ");
        assert!(wordy.starts_with(&beginning) && wordy.ends_with("… x1"), "{wordy}");
    });
}

#[test]
fn a_pod_is_told_once_that_its_files_are_not_what_they_were() {
    run("events::a_pod_is_told_once_that_its_files_are_not_what_they_were", async {
        let scene = Scene::new(Options::default()).await;
        let volume = scene.driver.volume("csi-1", &scene.reference());
        scene.driver.publish(&volume).await.unwrap();
        let client = scene.driver.client();
        assert!(!client.condition(&volume).await.abnormal);
        nix::mount::umount2(&volume.target, nix::mount::MntFlags::MNT_DETACH).unwrap();
        let problem = format!("it is not mounted at {} any more", volume.target.display());
        for _ in 0..2 {
            assert_eq!(client.condition(&volume).await.message, problem);
        }
        scene.driver.unpublish(&volume).await.unwrap();
        let told = scene.told().await;
        let expected =
            format!("agent Warning VolumeConditionAbnormal The volume of skills: {problem} x1");
        assert_eq!(told.last(), Some(&expected), "{told:?}");
    });
}
