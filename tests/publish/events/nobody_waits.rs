//! However many events there are and whatever the API server does, pods have their volumes.

use super::*;
use crate::metrics::HTTP;
use crate::node::Node;
use crate::support::http::get;
use crate::support::kube_api::{Trouble, path, rights};
use crate::support::rights::EVENTS;

#[test]
fn a_pod_that_fails_for_ever_has_only_so_many() {
    run("events::nobody_waits::a_pod_that_fails_for_ever_has_only_so_many", async {
        let scene = Scene::patient(Options::default(), Duration::from_secs(300)).await;
        let reference = scene.registry.reference("team/code-review", "v9");
        let volume = scene.driver.volume("csi-1", &reference);
        for _ in 0..60 {
            refused(scene.driver.publish(&volume).await);
        }
        // Pulling, Failed, and 59 times BackOff.
        scene.counted("limited", 61 - 25).await;
        let other = of_pod(scene.driver.volume("csi-2", &reference), "other");
        refused(scene.driver.publish(&other).await);
        scene.counted("written", 26).await;
        let asked = scene.api.asked();
        let count = |method: &str| asked.iter().filter(|asked| asked.method == method).count();
        assert_eq!((count("POST"), count("PATCH")), (4, 22));
        assert_eq!(rights(&asked), EVENTS);
        let expected = [
            ("agent", "Pulling", 1),
            ("agent", "Failed", 1),
            ("agent", "BackOff", 23),
            ("other", "BackOff", 1),
        ];
        let events = scene.api.all_events();
        let told = events.iter().map(|event| {
            let count = event["count"].as_u64().unwrap();
            (text(event, "/involvedObject/name"), text(event, "/reason"), count)
        });
        assert_eq!(told.collect::<Vec<_>>(), expected);
    });
}

#[test]
fn an_event_that_the_api_server_has_forgotten_is_made_again() {
    run("events::nobody_waits::an_event_that_the_api_server_has_forgotten_is_made_again", async {
        let scene = Scene::new(Options::default()).await;
        let volume = scene.driver.volume("csi-1", &scene.reference());
        scene.driver.publish(&volume).await.unwrap();
        scene.driver.unpublish(&volume).await.unwrap();
        scene.driver.publish(&volume).await.unwrap();
        scene.api.wait_for_asked(3).await;
        let present = &scene.api.all_events()[2];
        scene.api.delete(&path("team", "events", text(present, "/metadata/name")));
        scene.api.asked();
        scene.driver.unpublish(&volume).await.unwrap();
        scene.driver.publish(&volume).await.unwrap();
        scene.api.wait_for_asked(2).await;
        let methods: Vec<_> = scene.api.asked().into_iter().map(|a| (a.method, a.status)).collect();
        assert_eq!(methods, [("PATCH".into(), 404), ("POST".into(), 201)]);
        let events = scene.api.all_events();
        let again = events.last().unwrap();
        assert_eq!(again["count"], 2);
        assert_eq!(again["firstTimestamp"], present["firstTimestamp"]);
    });
}

#[test]
fn an_api_server_that_refuses_or_is_away_is_in_nobodys_way() {
    run("events::nobody_waits::an_api_server_that_refuses_or_is_away_is_in_nobodys_way", async {
        let scene = Scene::new(Options::default()).await;
        let forbidden = "events is forbidden";
        scene.api.trouble(MAKE, Trouble::Status(403, "Forbidden", forbidden));
        scene.driver.publish(&scene.driver.volume("csi-1", &scene.reference())).await.unwrap();
        scene.counted("failed", 2).await;
        assert_eq!(scene.api.all_events(), [Value::Null; 0]);
        scene.api.trouble(MAKE, Trouble::Close);
        scene.driver.publish(&scene.driver.volume("csi-2", &scene.reference())).await.unwrap();
        scene.counted("failed", 3).await;
    });
}

#[test]
fn what_does_not_fit_into_the_queue_is_counted() {
    run("events::nobody_waits::what_does_not_fit_into_the_queue_is_counted", async {
        let scene = Scene::patient(Options::default(), Duration::from_secs(300)).await;
        scene.api.trouble(MAKE, Trouble::Silence);
        let reference = scene.registry.reference("team/code-review", "v9");
        let volume = scene.driver.volume("csi-1", &reference);
        refused(scene.driver.publish(&volume).await);
        scene.api.wait_for_asked(1).await;
        // One is on its way, one waits, and there is room for 255 more.
        for _ in 0..255 + 7 {
            refused(scene.driver.publish(&volume).await);
        }
        scene.counted("dropped", 7).await;
        scene.driver.publish(&scene.driver.volume("csi-2", &scene.reference())).await.unwrap();
        let none = ["failed", "limited", "written"]
            .map(|outcome| format!("skillmount_events_total{{outcome=\"{outcome}\"}} 0"));
        let mut expected = vec!["skillmount_events_total{outcome=\"dropped\"} 9".to_owned()];
        expected.extend(none);
        assert_eq!(scene.driver.series("skillmount_events_total"), expected);
    });
}

#[test]
fn the_driver_tells_only_if_it_is_told_to() {
    run("events::nobody_waits::the_driver_tells_only_if_it_is_told_to", async {
        let (registry, api) = (Registry::start(Options::default()), KubeApi::start().await);
        artifacts::skillimage(&registry, "team/code-review", "v1", &skills::code_review());
        let reference = registry.reference("team/code-review", "v1");
        let config = |root: &Path| format!("--kubeconfig={}", api.kubeconfig(root).display());
        for (name, flags, told) in [
            ("without", &["--secret-access=driver", "--image-pull-secrets=false"][..], 0),
            ("with", &["--events"], 2),
        ] {
            let root = namespace::scratch().join(name);
            fs::create_dir_all(root.join("pods")).unwrap();
            let config = config(&root);
            let flags = [&[HTTP, config.as_str()], flags].concat();
            let node = Node::start(&root, &flags).await;
            node.client.publish(&Volume::new(&root, "csi-1", &reference)).await.unwrap();
            api.wait_for_asked(told).await;
            let (_, metrics) = get(node.http(), "/metrics").await;
            assert_eq!(metrics.contains("skillmount_events_total{"), told > 0, "{metrics}");
            let (status, log) = node.terminate().await;
            assert_eq!(status.code(), Some(0), "{log}");
            let events = api.all_events();
            assert_eq!(events.len(), told, "{log}");
            assert_eq!(api.asked().len(), told, "{log}");
        }
    });
}
