use super::*;
use crate::credentials::Salt;

fn attributes(required: bool, annotations: &[&str]) -> TokenAttributes {
    TokenAttributes {
        audience: "aud".into(),
        cache_type: CacheType::ServiceAccount,
        required,
        required_annotations: annotations.iter().map(|key| (*key).to_owned()).collect(),
        optional_annotations: vec!["optional".into()],
    }
}

fn workload(token: Option<&str>) -> Workload {
    Workload {
        namespace: "team".into(),
        service_account: "agent".into(),
        pod_uid: "p".into(),
        tokens: token.map(|token| ("aud".to_owned(), token.to_owned())).into_iter().collect(),
    }
}

#[test]
fn a_provider_is_asked_for_a_service_account_only_with_its_own_token() {
    let own = testing::token("team", "agent", "u", "p", "1");
    let stranger = "the token for audience \"aud\" is not one of the pod's service account";
    let strangers = [
        testing::token("other", "agent", "u", "p", "1"),
        testing::token("team", "other", "u", "p", "1"),
        testing::token("team", "agent", "u", "q", "1"),
        "CANARY".into(),
        "CANARY.CANARY.CANARY".into(),
        String::new(),
    ];
    for token in &strangers {
        let error = Subject::of(Some(&attributes(true, &[])), Some(&workload(Some(token))));
        assert_eq!(error.err().unwrap().to_string(), stranger, "{token}");
    }
    let holder = |attributes: Option<&TokenAttributes>, workload: Option<&Workload>| {
        let subject = Subject::of(attributes, workload);
        match subject.map(|subject| format!("{:?}", subject.holder("p"))) {
            Ok(holder) => holder,
            Err(error) => error.to_string(),
        }
    };
    let nobody = Workload { service_account: String::new(), ..workload(Some(&own)) };
    for (attributes, workload, expected) in [
        (None, Some(workload(Some(&own))), "node p"),
        (None, None, "node p"),
        (Some(attributes(true, &[])), Some(workload(Some(&own))), "service account p team agent u"),
        (
            Some(attributes(false, &[])),
            Some(workload(Some(&own))),
            "service account p team agent u",
        ),
        (
            Some(attributes(true, &[])),
            Some(nobody.clone()),
            "it is asked only for pods with a service account",
        ),
        (Some(attributes(true, &[])), None, "it is asked only for pods with a service account"),
        (Some(attributes(false, &[])), Some(nobody), "node p"),
        (Some(attributes(false, &[])), None, "node p"),
        (
            Some(attributes(false, &[])),
            Some(workload(None)),
            "kubelet sent no service account token for audience \"aud\": the CSIDriver object needs \
             it in its spec.tokenRequests",
        ),
        (
            Some(attributes(true, &["role"])),
            Some(workload(Some(&own))),
            "it requires the service account's annotation \"role\" \
             (requiredServiceAccountAnnotationKeys), and the driver reads no service accounts",
        ),
    ] {
        assert_eq!(holder(attributes.as_ref(), workload.as_ref()), expected);
    }
}

#[test]
fn holders_of_different_accounts_differ() {
    let salt = Salt::new(&[7; 32]);
    let attributes = attributes(true, &[]);
    let identity = |namespace: &str, name: &str, uid: &str, jti: &str| {
        let token = testing::token(namespace, name, uid, "p", jti);
        let workload = Workload {
            namespace: namespace.into(),
            service_account: name.into(),
            ..workload(Some(&token))
        };
        let subject = Subject::of(Some(&attributes), Some(&workload)).ok().unwrap();
        subject.holder("p").identity(&salt)
    };
    let own = identity("team", "agent", "u", "1");
    assert_eq!(own, identity("team", "agent", "u", "2"), "a new token is the same account's");
    for other in [
        identity("team", "agent", "v", "1"),
        identity("team", "other", "u", "1"),
        identity("other", "agent", "u", "1"),
    ] {
        assert_ne!(own, other);
    }
}

#[test]
fn tokens_are_not_shown() {
    assert_eq!(
        format!("{:?}", workload(Some("CANARY"))),
        "Workload { namespace: \"team\", service_account: \"agent\", pod_uid: \"p\", audiences: \
         [\"aud\"] }"
    );
}
