use super::*;
use proptest::prelude::*;

const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn references_are_normalised() {
    for (text, expected) in [
        ("nginx", "docker.io/library/nginx:latest"),
        ("acme/skill", "docker.io/acme/skill:latest"),
        ("index.docker.io/nginx:1", "docker.io/library/nginx:1"),
        ("ghcr.io/acme/skill:v1", "ghcr.io/acme/skill:v1"),
        ("GHCR.io/acme/skill:V1", "ghcr.io/acme/skill:V1"),
        ("LOCALHOST/x", "localhost/x:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("127.0.0.1:5000/a/b-c__d.e:t", "127.0.0.1:5000/a/b-c__d.e:t"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
    ] {
        assert_eq!(text.parse::<Reference>().unwrap().to_string(), expected, "{text}");
    }
    let both: Reference = format!("r.io/a:v1@{D}").parse().unwrap();
    assert_eq!(both.selector(), Selector::Digest(D.parse().unwrap()));
    assert_eq!(both.repository().last_segment(), "a");
}

#[test]
fn bad_references_say_why() {
    for (text, expected) in [
        ("", "the reference is empty"),
        ("https://ghcr.io/a", "starts with a scheme; write it without \"https://\""),
        ("ghcr.io/Acme/skill", "has upper-case letters, which no registry allows"),
        // Found by fuzzing: printed in lower case, it was another reference.
        ("ACME/skill", "path \"ACME/skill\" has upper-case letters"),
        ("ghcr.io/a//b", "has an empty component"),
        ("ghcr.io/../b", "does not start and end with a letter or digit"),
        ("ghcr.io/a..b", "single . _ __ or dashes"),
        ("ghcr.io/", "is empty"),
        ("ghcr.io:99999/a", "is not a registry"),
        ("ghcr.io/a:-x", "tag \"-x\" is not of the form"),
        ("ghcr.io/a@sha256:00", "reference \"ghcr.io/a@sha256:00\""),
        ("ghcr.io/a b", "single . _ __ or dashes"),
        ("user@ghcr.io/a", "reference \"user@ghcr.io/a\""),
    ] {
        let message = text.parse::<Reference>().unwrap_err().to_string();
        assert!(message.contains(expected), "{text}: {message}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics_and_printing_is_a_fixed_point(text in "[ -~]{0,80}") {
        if let Ok(reference) = text.parse::<Reference>() {
            let printed = reference.to_string();
            prop_assert_eq!(printed.parse::<Reference>().unwrap().to_string(), printed);
        }
    }

    /// What we accept, the client that the field uses accepts too, and means the same.
    #[test]
    fn agrees_with_oci_client(text in "([a-z]{1,4}(\\.[a-z]{1,3})?(:[1-9][0-9]{0,3})?/)?[a-z0-9]{1,5}([-._]{1,2}[a-z0-9]{1,3})?(/[a-z0-9]{1,4})?(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,6})?") {
        if let Ok(ours) = text.parse::<Reference>() {
            let theirs: oci_client::Reference = text.parse().unwrap();
            prop_assert_eq!(ours.repository().registry(), theirs.registry());
            prop_assert_eq!(ours.repository().path(), theirs.repository());
        }
    }
}
