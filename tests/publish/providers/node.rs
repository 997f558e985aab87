//! Providers of the real binary: its flags, its log, and what it does not execute.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use super::*;
use crate::node::{Node, command};
use crate::support::http::get;

/// The flags for these providers.
pub(crate) fn flags(plugins: &Plugins) -> [String; 2] {
    let config = plugins.config();
    [
        format!("--image-credential-provider-config={}", config.config.display()),
        format!("--image-credential-provider-bin-dir={}", config.bin_dir.display()),
    ]
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn nothing_that_a_provider_gives_is_written_or_shown() {
    run("providers::node::nothing_that_a_provider_gives_is_written_or_shown", async {
        let registry = shelf(&[("robot", GIVEN)]);
        let host = registry.host();
        let root = namespace::scratch();
        let mut plugins = Plugins::new(&root);
        let env = json!({ "env": [{ "name": "KEY", "value": "CANARY-environment" }] });
        plugins.add_with("cloud", std::slice::from_ref(&host), env);
        let [config, bin_dir] = flags(&plugins);
        let flags = [
            "--log-level=trace,skillmount=trace",
            "--http-endpoint=127.0.0.1:0",
            "--pull-backoff=0",
            &config,
            &bin_dir,
        ];
        let node = Node::start(&root, &flags).await;
        let volume = |id: &str, repository: &str| {
            Volume::new(&root, id, &registry.reference(repository, "v1"))
        };
        let ask = |volume: Volume| volume.attribute("pullPolicy", "Always");
        for (number, (script, outcome)) in [
            ("exit 1", Code::Unavailable),
            ("echo CANARY-garbage", Code::Unavailable),
            ("echo 'a note' >&2; cat \"${0%/bin/*}/answers/cloud\"", Code::Unauthenticated),
        ]
        .into_iter()
        .enumerate()
        {
            plugins.script("cloud", script);
            plugins.answer("cloud", &answer("Image", &[(&host, "robot", "CANARY-wrong")]));
            let volume = ask(volume(&format!("bad-{number}"), "team/a"));
            let (code, message) = refused(node.client.publish(&volume).await);
            assert_eq!(code, outcome, "{message}");
            assert!(!message.contains("CANARY"), "{message}");
        }
        plugins.script("cloud", "echo 'a note' >&2; cat \"${0%/bin/*}/answers/cloud\"");
        plugins.answer("cloud", &answer("Registry", &[(&host, "robot", GIVEN)]));
        for id in ["good-1", "good-2"] {
            node.client.publish(&ask(volume(id, "team/b"))).await.unwrap();
        }
        let (_, metrics) = get(node.http(), "/metrics").await;
        for (outcome, count) in [("ok", 2), ("failed", 2), ("cached", 1)] {
            let line = format!(
                "skillmount_credential_provider_requests_total{{provider=\"cloud\",outcome=\"{outcome}\"}} {count}\n"
            );
            assert!(metrics.contains(&line), "{line}{metrics}");
        }
        let (status, log) = node.terminate().await;
        assert_eq!(status.code(), Some(0));
        assert!(log.contains("a note"), "{log}");
        assert!(log.contains("it ended with exit status 1"), "{log}");
        let secrets = [
            "CANARY".to_owned(),
            STANDARD.encode(format!("robot:{GIVEN}")),
            STANDARD.encode(GIVEN),
        ];
        for secret in &secrets {
            assert!(!metrics.contains(secret), "{metrics}");
            assert!(!log.contains(secret), "{log}");
            for file in files(&root.join("state")) {
                let bytes = fs::read(&file).unwrap();
                let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!found, "{}", file.display());
            }
        }
    });
}

/// What `PATH` and the directory of providers have does not matter: a tenant names no program.
#[test]
fn a_helper_that_a_secret_names_is_not_executed() {
    run("providers::node::a_helper_that_a_secret_names_is_not_executed", async {
        let registry = shelf(&[("robot", GIVEN)]);
        let host = registry.host();
        let root = namespace::scratch();
        let mut plugins = Plugins::new(&root);
        plugins.add("cloud", &["other.example".into()]);
        for name in ["docker-credential-tenant", "tenant"] {
            plugins.script(name, "exit 1");
        }
        let driver = plugins.driver().await;
        let secret = json!({
            "credsStore": "tenant",
            "credHelpers": { &host: "tenant" },
            "auths": { &host: { "credsStore": "tenant" } },
        });
        let volume = driver.volume("csi-1", &registry.reference("team/a", "v1"));
        let volume = volume
            .raw_secret(".dockerconfigjson", &secret.to_string())
            .attribute("pullPolicy", "Always");
        let (code, _) = refused(driver.publish(&volume).await);
        assert_eq!(code, Code::Unauthenticated);
        assert_eq!(tree::names(&root.join("asked")), [""; 0]);
    });
}

/// What cannot be used ends the driver before anything is opened.
#[test]
fn a_bad_configuration_is_a_bad_flag() {
    run("providers::node::a_bad_configuration_is_a_bad_flag", async {
        let root = namespace::scratch();
        let mut plugins = Plugins::new(&root);
        plugins.add("cloud", &["r.example".into()]);
        let [config, bin_dir] = flags(&plugins);
        let absent = format!("{config}.not");
        let program = root.join("bin/cloud");
        let mode = |mode| fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
        let refusal = async |flags: &[&String]| {
            let output = command(&root).args(flags).stderr(Stdio::piped()).output().await.unwrap();
            assert_eq!(output.status.code(), Some(64), "{flags:?}");
            assert!(!root.join("state").exists());
            String::from_utf8(output.stderr).unwrap()
        };
        for (flags, expected) in [
            (&[&config][..], "--image-credential-provider-bin-dir <DIR>"),
            (&[&bin_dir], "--image-credential-provider-config <PATH>"),
            (&[&absent, &bin_dir], "cannot read the credential provider configuration"),
        ] {
            let told = refusal(flags).await;
            assert!(told.contains(expected), "{flags:?}: {told}");
        }
        mode(0o777);
        let told = refusal(&[&config, &bin_dir]).await;
        assert!(
            told.contains(&format!("cannot use the credential provider {program:?}: ")),
            "{told}"
        );
        assert!(told.contains("its mode is 777: "), "{told}");
        mode(0o755);
        fs::set_permissions(root.join("bin"), fs::Permissions::from_mode(0o777)).unwrap();
        let told = refusal(&[&config, &bin_dir]).await;
        assert!(told.contains("cannot use the directory of credential providers"), "{told}");
        fs::set_permissions(root.join("bin"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::remove_file(&program).unwrap();
        let told = refusal(&[&config, &bin_dir]).await;
        assert!(told.contains("it cannot be inspected: No such file or directory"), "{told}");
        plugins.configured[0]["matchImages"] = json!(["r.example", "a b"]);
        let told = refusal(&[&flags(&plugins)[0], &bin_dir]).await;
        assert!(
            told.contains("providers.yaml\" is not valid: providers[0].matchImages[1]: has white "),
            "{told}"
        );
    });
}
