//! What each host of a repository is shown: logins, and certificates.

use super::*;
use crate::mirrors::Shelf;
use crate::support::Tls;
use crate::support::auth::User;

const MIRROR: &str = "CANARY-mirror";

fn authorizations(registry: &Registry) -> Vec<Option<String>> {
    let mut shown: Vec<_> =
        registry.requests().into_iter().map(|request| request.authorization).collect();
    shown.dedup();
    shown
}

#[test]
fn logins_go_to_the_host_they_are_for() {
    run("mirror_logins::logins_go_to_the_host_they_are_for", async {
        let upstream = Options::basic([User::new("agent", CANARY)]);
        let mirror = Options::basic([User::new("robot", MIRROR), User::new("agent", CANARY)]);
        let (agent, robot) =
            (User::new("agent", CANARY).basic(), User::new("robot", MIRROR).basic());
        let shelf = Shelf::new(upstream, mirror).await;
        shelf.configure("server = \"$U\"\n[host.\"$M\"]\n");
        let (host, other) = (shelf.upstream.host(), shelf.mirror.host());
        let both = format!(
            r#"{{"auths":{{"{host}":{{"username":"agent","password":"{CANARY}"}},"{other}":{{"username":"robot","password":"{MIRROR}"}}}}}}"#
        );
        // The mirror does not see what is the upstream's.
        let volume = shelf.volume("csi-1", ":v1");
        shelf.pull(&volume.clone().secret(&host, "agent", CANARY)).await.unwrap();
        assert_eq!(authorizations(&shelf.mirror), [None]);
        assert_eq!(authorizations(&shelf.upstream), [None, Some(agent.clone())]);
        shelf.asked();
        // With an entry of its own it sees that one, and nothing of the other.
        let volume = shelf.volume("csi-2", ":v2").raw_secret(".dockerconfigjson", &both);
        shelf.pull(&volume).await.unwrap();
        assert_eq!(authorizations(&shelf.mirror), [None, Some(robot)]);
        assert_eq!(authorizations(&shelf.upstream), [] as [Option<String>; 0]);
        // What was read with it is there for it, without a request.
        let again = shelf.volume("csi-3", ":v2");
        let again = again.attribute("pullPolicy", "Never").raw_secret(".dockerconfigjson", &both);
        shelf.asked();
        shelf.pull(&again).await.unwrap();
        let stranger = shelf.volume("csi-4", ":v2").attribute("pullPolicy", "Never");
        assert_eq!(shelf.pull(&stranger).await.unwrap_err().0, Code::NotFound);
        assert_eq!(shelf.asked(), (vec![], vec![]));
        // Nobody's login gets in nowhere.
        let (code, message) = shelf.pull(&shelf.volume("csi-5", ":v1")).await.unwrap_err();
        assert_eq!(code, Code::Unauthenticated);
        assert!(message.contains("needs an entry for \"M\"; U: "), "{message}");
    });
}

#[test]
fn a_listed_mirror_sees_the_registrys_logins() {
    run("mirror_logins::a_listed_mirror_sees_the_registrys_logins", async {
        let users = || Options::basic([User::new("agent", CANARY)]);
        let shelf = Shelf::with(users(), users(), |setup, mirror| {
            setup.registry.mirror_credentials = vec![mirror.host()];
        })
        .await;
        shelf.configure("server = \"$U\"\n[host.\"$M\"]\n");
        let host = shelf.upstream.host();
        let volume = shelf.volume("csi-1", ":v1").secret(&host, "agent", CANARY);
        shelf.pull(&volume).await.unwrap();
        assert_eq!(shelf.upstream.lines(), [""; 0]);
        let agent = User::new("agent", CANARY).basic();
        assert_eq!(authorizations(&shelf.mirror), [None, Some(agent)]);
    });
}

#[test]
fn what_a_mirror_gives_to_all_is_for_all() {
    run("mirror_logins::what_a_mirror_gives_to_all_is_for_all", async {
        let upstream = Options::basic([User::new("agent", CANARY)]);
        let shelf = Shelf::new(upstream, Options::default()).await;
        shelf.configure("server = \"$U\"\n[host.\"$M\"]\n");
        shelf.pull(&shelf.volume("csi-1", ":v1")).await.unwrap();
        let stranger = shelf.volume("csi-2", ":v1").attribute("pullPolicy", "Never");
        shelf.pull(&stranger).await.unwrap();
        assert_eq!(shelf.upstream.lines(), [""; 0]);
    });
}

#[test]
fn tls_is_spoken_as_each_host_wants_it() {
    run("mirror_logins::tls_is_spoken_as_each_host_wants_it", async {
        let tls = Options { tls: Some(Tls::mutual()), ..Options::default() };
        let shelf = Shelf::new(Options::default(), tls.clone()).await;
        let given = tls.tls.as_ref().unwrap();
        let (certificate, key) = given.client_pem();
        for (name, text) in
            [("ca.pem", given.ca_pem()), ("client.pem", certificate), ("key.pem", key)]
        {
            fs::write(shelf.directory().join(name), text).unwrap();
        }
        for (settings, expected) in [
            ("", Some("the certificate of M is not trusted")),
            ("ca = \"ca.pem\"", Some("M")),
            ("skip_verify = true", Some("M")),
            ("ca = \"ca.pem\"\nclient = [[\"client.pem\", \"key.pem\"]]", None),
            ("skip_verify = true\nclient = [[\"client.pem\", \"key.pem\"]]", None),
            (
                "client = [[\"client.pem\", \"key.pem\"]]",
                Some("the certificate of M is not trusted"),
            ),
        ] {
            shelf.configure(&format!("server = \"$M\"\n{settings}"));
            let outcome = shelf.pull(&shelf.volume("csi-1", ":v1")).await;
            match expected {
                None => outcome.unwrap(),
                Some(text) => {
                    let (_, message) = outcome.unwrap_err();
                    assert!(message.contains(text), "{settings}: {message}");
                    assert_eq!(shelf.mirror.lines(), [""; 0], "{settings}");
                }
            }
            shelf.mirror.clear();
        }
        assert_eq!(shelf.upstream.lines(), [""; 0]);
    });
}
