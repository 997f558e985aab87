use super::*;
use crate::observability::chain;

fn parse(pairs: &[(&str, &str)]) -> Result<(Attributes, PodInfo), AttributesError> {
    let context = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Attributes::parse(&context)
}

#[test]
fn attributes_are_typed() {
    let (attributes, pod) = parse(&[
        ("reference", "r.io/a:1\n r.io/b:2  r.io/a:1\n"),
        ("skills", "x, y"),
        ("noexec", "true"),
        ("csi.storage.k8s.io/pod.namespace", "team"),
        ("csi.storage.k8s.io/ephemeral", "true"),
        ("csi.storage.k8s.io/something.new", "?"),
    ])
    .unwrap();
    assert_eq!(attributes.references.len(), 2);
    assert_eq!(attributes.skills, ["x", "y"]);
    assert!(attributes.noexec);
    assert_eq!(attributes.seal, Seal::Overlay);
    assert_eq!((pod.pod.namespace.as_str(), pod.ephemeral), ("team", Some(true)));
}

#[test]
fn mistakes_are_named() {
    for (pairs, expected) in [
        (
            vec![],
            "\"reference\" is missing: set it to an OCI reference such as registry.example/team/skill:v1",
        ),
        (
            vec![("reference", " \n")],
            "\"reference\" is missing: set it to an OCI reference such as registry.example/team/skill:v1",
        ),
        (vec![("referense", "a")], "unknown attribute \"referense\"; did you mean \"reference\"?"),
        (
            vec![("pull-policy", "a")],
            "unknown attribute \"pull-policy\"; did you mean \"pullPolicy\"?",
        ),
        (
            vec![("image", "a")],
            "unknown attribute \"image\"; known are layout, name, noexec, pullPolicy, pullSecrets, reference, seal, skills, subPath, validation",
        ),
        (
            vec![("reference", "a"), ("noexec", "yes")],
            "attribute \"noexec\" is \"yes\"; it must be one of \"true\", \"false\"",
        ),
        (
            vec![("reference", "a"), ("pullPolicy", "always")],
            "attribute \"pullPolicy\" is \"always\"; it must be one of Always, IfNotPresent, Never",
        ),
        (
            vec![("reference", "a b"), ("layout", "flat")],
            "layout \"flat\" shows one skill; several references need \"nested\"",
        ),
        (
            vec![("reference", "a"), ("subPath", "../x")],
            "attribute \"subPath\" is \"../x\"; it must be a path inside the artifact",
        ),
        (
            vec![("reference", "a"), ("subPath", "x"), ("layout", "raw")],
            "\"subPath\" says where in one artifact to look for skills: one reference, and no \
             layout \"raw\"",
        ),
    ] {
        assert_eq!(parse(&pairs).unwrap_err().to_string(), expected, "{pairs:?}");
    }
}

#[test]
fn pull_secrets_are_names_in_one_namespace() {
    let parse = |text: &str| {
        let parsed = parse(&[("reference", "a"), ("pullSecrets", text)]);
        let names = parsed.map(|(attributes, _)| attributes.pull_secrets);
        let join =
            |names: Vec<Name>| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        names.map(join).map_err(|error| chain(&error))
    };
    let many: Vec<_> = (0..20).map(|number| format!("s-{number}")).collect();
    for (text, expected) in [
        ("", ""),
        (" ,\n,", ""),
        ("regcred", "regcred"),
        ("b, a.b.c,,b\n0", "b a.b.c 0"),
        // Of duplicates one counts.
        (&format!("{},s-0", many.join(",")), many.join(" ").as_str()),
    ] {
        assert_eq!(parse(text).as_deref(), Ok(expected), "{text:?}");
    }
    for (text, expected) in [
        (
            "a, team-b/regcred",
            "\"pullSecrets\" names \"team-b/regcred\": write the name alone, Secrets are read in \
             the pod's own namespace only",
        ),
        (
            "Regcred",
            "\"pullSecrets\" names \"Regcred\", as no Secret is called: names have lower-case \
             letters, digits, \"-\" and \".\", and at most 253 characters",
        ),
        (
            &format!("{},one-more", many.join(",")),
            "\"pullSecrets\" names 21 Secrets; at most 20 are allowed",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err(), expected);
    }
    for bad in ["..", "a..b", "-a", "a_b", "a?b", "%2e%2e"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
