//! Providers that answer for a pod's service account (KEP-4412).

use super::*;

const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";
const AUDIENCE: &str = "registry.example";

/// A token of a service account of the tests' pod, as the API server writes it.
fn token(account: &str, uid: &str, jti: &str) -> String {
    let claims = json!({
        "jti": jti,
        "kubernetes.io": {
            "namespace": "team",
            "serviceaccount": { "name": account, "uid": uid },
            "pod": { "name": "agent", "uid": "0768eb6d-4803-492e-91ed-aa92be06dc18" },
        },
    });
    format!("e30.{}.CANARY", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// A volume of a pod with a service account and a token for the audience.
fn volume(driver: &Driver, id: &str, reference: &str, account: &str, jti: &str) -> Volume {
    let token = token(account, &format!("uid-{account}"), jti);
    let tokens =
        json!({ AUDIENCE: { "token": token, "expirationTimestamp": "2030-01-01T00:00:00Z" } });
    driver.volume(id, reference).service_account(account).raw_secret(TOKENS, &tokens.to_string())
}

fn attributes(cache_type: &str, required: bool) -> Value {
    json!({ "tokenAttributes": {
        "serviceAccountTokenAudience": AUDIENCE,
        "cacheType": cache_type,
        "requireServiceAccount": required,
    } })
}

/// A registry with a provider that answers for service accounts.
async fn set_up(fields: Value) -> (Registry, Plugins, Driver) {
    let registry = shelf(&[("robot", GIVEN)]);
    let host = registry.host();
    let mut plugins = Plugins::new(&namespace::scratch());
    plugins.add_with("cloud", std::slice::from_ref(&host), fields);
    plugins.answer("cloud", &answer("Registry", &[(&host, "robot", GIVEN)]));
    let driver = plugins.driver().await;
    (registry, plugins, driver)
}

#[test]
fn the_pods_token_is_handed_over() {
    run("providers::accounts::the_pods_token_is_handed_over", async {
        let (registry, plugins, driver) = set_up(attributes("ServiceAccount", true)).await;
        let reference = registry.reference("team/a", "v1");
        driver.publish(&volume(&driver, "csi-1", &reference, "first", "1")).await.unwrap();
        let mut expected = question(&format!("{}/team/a", registry.host()));
        expected["serviceAccountToken"] = json!(token("first", "uid-first", "1"));
        assert_eq!(plugins.asked("cloud"), [expected]);
        assert_eq!(shown(&registry), ["robot"]);
        // In the volume context, where the CSIDriver does not say otherwise.
        let mut second = volume(&driver, "csi-2", &reference, "second", "1");
        let tokens = second.secrets.remove(TOKENS).unwrap();
        driver.publish(&second.attribute(TOKENS, &tokens)).await.unwrap();
        let expected = json!(token("second", "uid-second", "1"));
        assert_eq!(plugins.asked("cloud")[0]["serviceAccountToken"], expected);
    });
}

/// How often the provider is asked: for a pod, for another of the same service account, and for
/// one of another.
#[test]
fn an_answer_is_kept_for_a_service_account_or_a_token() {
    run("providers::accounts::an_answer_is_kept_for_a_service_account_or_a_token", async {
        let base = namespace::scratch();
        for (cache_type, expected) in [("ServiceAccount", [1, 0, 0, 1]), ("Token", [1, 0, 1, 1])] {
            let root = base.join(cache_type);
            fs::create_dir(&root).unwrap();
            let registry = shelf(&[("robot", GIVEN)]);
            let host = registry.host();
            let mut plugins = Plugins::new(&root);
            let hosts = std::slice::from_ref(&host);
            plugins.add_with("cloud", hosts, attributes(cache_type, true));
            plugins.answer("cloud", &answer("Global", &[(&host, "robot", GIVEN)]));
            let driver = plugins.driver().await;
            let reference = registry.reference("team/a", "v1");
            let pods = [("first", "1"), ("first", "1"), ("first", "2"), ("second", "1")];
            for (index, (account, jti)) in pods.into_iter().enumerate() {
                let volume = volume(&driver, &format!("csi-{index}"), &reference, account, jti);
                driver.publish(&volume.attribute("pullPolicy", "Always")).await.unwrap();
                assert_eq!(plugins.asked("cloud").len(), expected[index], "{cache_type} {index}");
            }
            driver.stop().await;
        }
    });
}

/// A grant is one service account's: another has to show that it may read the skill as well.
#[test]
fn what_one_service_account_was_granted_another_is_not() {
    run("providers::accounts::what_one_service_account_was_granted_another_is_not", async {
        let (registry, plugins, driver) = set_up(attributes("ServiceAccount", true)).await;
        let reference = registry.reference("team/a", "v1");
        let pod = |id, account, policy| {
            volume(&driver, id, &reference, account, id).attribute("pullPolicy", policy)
        };
        driver.publish(&pod("csi-1", "first", "IfNotPresent")).await.unwrap();
        drop((shown(&registry), plugins.asked("cloud")));
        // The same account, another pod and another token.
        driver.publish(&pod("csi-2", "first", "Never")).await.unwrap();
        assert_eq!(registry.lines(), [""; 0]);
        // Another account.
        let (code, _) = refused(driver.publish(&pod("csi-3", "second", "Never")).await);
        assert_eq!(code, Code::NotFound);
        plugins.answer("cloud", &answer("Registry", &[(&registry.host(), "thief", "CANARY-no")]));
        let (code, _) = refused(driver.publish(&pod("csi-4", "second", "IfNotPresent")).await);
        assert_eq!(code, Code::Unauthenticated);
        assert_eq!(shown(&registry), ["thief"]);
        assert_eq!(plugins.asked("cloud").len(), 1);
        // An account that was made anew under the same name is another.
        let mut again = pod("csi-5", "first", "Never");
        let tokens = json!({ AUDIENCE: { "token": token("first", "uid-new", "1") } });
        again = again.raw_secret(TOKENS, &tokens.to_string());
        let (code, _) = refused(driver.publish(&again).await);
        assert_eq!(code, Code::NotFound);
        // No token, no account.
        let bare = driver.volume("csi-6", &reference).service_account("first");
        let (code, _) = refused(driver.publish(&bare.attribute("pullPolicy", "Never")).await);
        assert_eq!(code, Code::NotFound);
    });
}

#[test]
fn without_a_token_of_its_own_a_pod_gets_nothing() {
    run("providers::accounts::without_a_token_of_its_own_a_pod_gets_nothing", async {
        let (registry, plugins, driver) = set_up(attributes("ServiceAccount", false)).await;
        let reference = registry.reference("team/a", "v1");
        let none = driver.volume("csi-1", &reference);
        let tokens = json!({ AUDIENCE: { "token": token("another", "u", "1") } });
        let forged = driver.volume("csi-2", &reference).attribute(TOKENS, &tokens.to_string());
        for (volume, expected) in [
            (
                none,
                "kubelet sent no service account token for audience \"registry.example\": the \
                 CSIDriver object needs it in its spec.tokenRequests",
            ),
            (
                forged,
                "the token for audience \"registry.example\" is not one of the pod's service account",
            ),
        ] {
            let (code, message) = refused(driver.publish(&volume).await);
            assert_eq!(code, Code::Unavailable, "{message}");
            let told = format!("credential provider \"cloud\": {expected}");
            assert!(message.contains(&told) && !message.contains("CANARY"), "{message}");
            assert_eq!(shown(&registry), [""; 0]);
            assert_eq!(plugins.asked("cloud").len(), 0);
        }
        // A pod without a service account is asked for as the node.
        driver.publish(&driver.volume("csi-3", &reference).service_account("")).await.unwrap();
        let expected = question(&format!("{}/team/a", registry.host()));
        assert_eq!(plugins.asked("cloud"), [expected]);
    });
}

#[test]
fn a_provider_that_needs_what_the_driver_does_not_know_says_so() {
    run(
        "providers::accounts::a_provider_that_needs_what_the_driver_does_not_know_says_so",
        async {
            let mut fields = attributes("ServiceAccount", true);
            fields["tokenAttributes"]["requiredServiceAccountAnnotationKeys"] =
                json!(["example/role"]);
            let (registry, plugins, driver) = set_up(fields).await;
            let reference = registry.reference("team/a", "v1");
            let pod = volume(&driver, "csi-1", &reference, "first", "1");
            let (code, message) = refused(driver.publish(&pod).await);
            assert_eq!(code, Code::Unavailable);
            let told = "credential provider \"cloud\": it requires the service account's annotation \
                    \"example/role\"";
            assert!(message.contains(told), "{message}");
            // Of a pod without a service account it wants nothing, so it has not failed.
            let bare = driver.volume("csi-2", &reference).service_account("");
            let (code, message) = refused(driver.publish(&bare).await);
            assert_eq!(code, Code::Unauthenticated, "{message}");
            assert_eq!(plugins.asked("cloud").len(), 0);
        },
    );
}

/// Where the login is the token itself, it must not be kept for the account's next pod.
#[test]
fn a_token_that_comes_back_is_no_login_of_the_account() {
    run("providers::accounts::a_token_that_comes_back_is_no_login_of_the_account", async {
        let (registry, plugins, driver) = set_up(attributes("ServiceAccount", true)).await;
        let own = token("first", "uid-first", "1");
        plugins.answer("cloud", &answer("Registry", &[(&registry.host(), "robot", &own)]));
        let reference = registry.reference("team/a", "v1");
        let pod = volume(&driver, "csi-1", &reference, "first", "1");
        let (code, message) = refused(driver.publish(&pod).await);
        assert_eq!(code, Code::Unavailable);
        assert!(message.contains("needs cacheType Token"), "{message}");
        assert!(!message.contains("CANARY") && !message.contains(&own), "{message}");
        assert_eq!(shown(&registry), [""; 0]);
    });
}
