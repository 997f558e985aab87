//! Secrets that cannot be read through the Kubernetes API: what becomes of the volume.

use std::time::Duration;

use super::*;
use crate::pod_secrets::Shelf;
use crate::support::kube_api::{Trouble, path};

fn status(code: u16, reason: &'static str) -> Trouble {
    Trouble::Status(code, reason, "the API server's own words")
}

/// For each trouble with the pod's Secret: what is noted, and the code if the pull fails for it.
#[test]
fn trouble_with_a_secret_is_noted_and_the_pull_goes_on() {
    run("unreadable::trouble_with_a_secret_is_noted_and_the_pull_goes_on", async {
        let shelf = Shelf::new(Some("driver"), true).await;
        let host = shelf.registry.host();
        shelf.pod(&["image"]);
        shelf.secret("image");
        let of_secret = path("team", "secrets", "image");
        let huge = vec![b' '; (3 << 20) + 1];
        let elsewhere = format!("{}{}", shelf.api.url(), path("team", "pods", "agent"));
        let troubles = [
            (status(404, "NotFound"), Code::Unauthenticated, "not found"),
            (
                status(403, "Forbidden"),
                Code::Unauthenticated,
                "forbidden: the driver needs get on secrets",
            ),
            (
                Trouble::Raw(200, huge),
                Code::Unauthenticated,
                "the API server's answer is longer than 3145728 bytes",
            ),
            (
                status(401, "Unauthorized"),
                Code::Unavailable,
                "the API server answers 401: the API server's own words",
            ),
            (
                status(429, "TooManyRequests"),
                Code::Unavailable,
                "the API server answers 429: the API server's own words",
            ),
            (
                status(500, "InternalError"),
                Code::Unavailable,
                "the API server answers 500: the API server's own words",
            ),
            (
                Trouble::Raw(502, b"<html>CANARY".to_vec()),
                Code::Unavailable,
                "the API server answers 502",
            ),
            (
                Trouble::Raw(200, b"CANARY".to_vec()),
                Code::Unavailable,
                "the API server's answer is not a Secret",
            ),
            (Trouble::Redirect(elsewhere), Code::Unavailable, "the API server answers 302"),
            (Trouble::Close, Code::Unavailable, "cannot reach the API server: "),
        ];
        for (trouble, expected, note) in troubles {
            shelf.api.trouble(&of_secret, trouble);
            let (code, message) = shelf.refused(&shelf.volume("csi-1")).await;
            let note = format!("(logins: imagePullSecrets \"image\": {note}");
            assert!(message.contains(&note), "{message}");
            assert_eq!(code, expected, "{message}");
            let what = match code {
                Code::Unavailable => " with the logins that could be read (",
                _ => " (",
            };
            assert!(message.starts_with(&format!("cannot pull {host}/team/code-review:v1{what}")));
            // The pod has another login, or needs none: nothing stands in its way.
            let other = shelf.volume("csi-2").secret(&host, "agent", CANARY);
            shelf.driver.publish(&other).await.unwrap();
            shelf.driver.unpublish(&other).await.unwrap();
        }
        let asked = shelf.api.asked();
        assert_eq!(asked.len(), 2 * 2 * 10, "once each, and no redirect was followed");
    });
}

#[test]
fn trouble_with_the_pod_is_noted_and_the_pull_goes_on() {
    run("unreadable::trouble_with_the_pod_is_noted_and_the_pull_goes_on", async {
        let needs = "forbidden: service account \"default\" needs a Role in namespace \"team\" with \
                     get on pods";
        let node = "forbidden: either the driver lacks impersonate:associated-node on nodes or \
                    impersonate-on:associated-node:get on pods, or no pod of this node refers to it";
        for (access, trouble, expected, note) in [
            ("pod-token", status(403, "Forbidden"), Code::Unauthenticated, needs),
            ("impersonate", status(403, "Forbidden"), Code::Unauthenticated, node),
            ("driver", status(404, "NotFound"), Code::Unauthenticated, "not found"),
            (
                "driver",
                Trouble::Raw(200, b"{}".to_vec()),
                Code::Unavailable,
                "the API server's answer is not a Pod",
            ),
        ] {
            let shelf = Shelf::new(Some(access), true).await;
            shelf.api.trouble(&path("team", "pods", "agent"), trouble);
            shelf.login("named", "uid-1", "agent", "CANARY-wrong");
            let volume = shelf.volume("csi-1").api_token("CANARY-pod");
            let (code, message) = shelf.refused(&volume).await;
            let note = format!("(logins: imagePullSecrets: pod \"agent\": {note})");
            assert!(message.contains(&note), "{message}");
            assert_eq!(code, expected, "{message}");
            shelf.secret("named");
            let named = volume.attribute("pullSecrets", "named");
            shelf.driver.publish(&named).await.unwrap();
            shelf.driver.stop().await;
        }
    });
}

#[test]
fn an_api_server_that_is_away_is_no_final_answer() {
    run("unreadable::an_api_server_that_is_away_is_no_final_answer", async {
        let shelf = Shelf::new(Some("driver"), true).await;
        let Shelf { registry, api, driver } = shelf;
        let reference = registry.reference("team/code-review", "v1");
        artifacts::skillimage(&registry, "team/code-review", "v2", &skills::code_review());
        api.stop().await;
        let volume = driver.volume("csi-1", &reference);
        let (code, message) = refused(driver.publish(&volume).await);
        assert_eq!(code, Code::Unavailable);
        let note = "(logins: imagePullSecrets: pod \"agent\": cannot reach the API server: \
                    Connection refused (os error 111))";
        assert!(message.contains(note), "{message}");
        // What is said to be absent may only not be granted to the logins that are known.
        let never = driver.volume("csi-1", &reference).attribute("pullPolicy", "Never");
        let (code, message) = refused(driver.publish(&never).await);
        assert_eq!(code, Code::Unavailable);
        assert!(message.contains(note), "{message}");
        // Another failure is what it is.
        let gone = driver.volume("csi-1", "127.0.0.1:1/team/code-review:v1");
        let (code, message) = refused(driver.publish(&gone).await);
        assert_eq!(code, Code::Unavailable);
        assert!(!message.contains("logins"), "{message}");
        let own = driver.volume("csi-1", &reference).secret(&registry.host(), "agent", CANARY);
        driver.publish(&own).await.unwrap();
    });
}

#[test]
fn an_api_server_that_hangs_is_not_waited_for() {
    run("unreadable::an_api_server_that_hangs_is_not_waited_for", async {
        let Shelf { registry, api, driver } = Shelf::new(None, true).await;
        driver.stop().await;
        let root = namespace::scratch().join("impatient");
        fs::create_dir(&root).unwrap();
        let secrets = api.patient(&root, "driver", true, Duration::from_millis(100));
        let driver =
            Driver::start(&root, Setup { pod_secrets: Some(secrets), ..Setup::default() }).await;
        api.trouble(&path("team", "pods", "agent"), Trouble::Silence);
        let volume = driver.volume("csi-1", &registry.reference("team/code-review", "v1"));
        let (code, message) = refused(driver.publish(&volume).await);
        assert_eq!(code, Code::Unavailable);
        let note = "imagePullSecrets: pod \"agent\": the API server did not answer in time";
        assert!(message.contains(note), "{message}");
        let own = volume.secret(&registry.host(), "agent", CANARY);
        driver.publish(&own).await.unwrap();
    });
}

/// As in kubelet: a Secret that cannot be what was meant fails the pull, and is named.
#[test]
fn a_malformed_secret_is_named() {
    run("unreadable::a_malformed_secret_is_named", async {
        let shelf = Shelf::new(Some("driver"), true).await;
        shelf.secret("good");
        shelf.api.secret("team", "bad", "uid-2", "{\"auths\": CANARY");
        shelf.pod(&["good", "bad"]);
        let problem = "key \".dockerconfigjson\" is not valid JSON: line 1, column 11";
        for (volume, name) in [
            (shelf.volume("csi-1"), "imagePullSecrets"),
            (shelf.volume("csi-1").attribute("pullSecrets", "bad"), "pullSecrets"),
        ] {
            let (code, message) = shelf.refused(&volume).await;
            assert_eq!(code, Code::Unauthenticated);
            let expected =
                format!("cannot read a pull secret of the volume: {name} \"bad\" {problem}");
            assert_eq!(message, expected);
        }
        assert_eq!(shelf.registry.lines(), [""; 0]);
    });
}
