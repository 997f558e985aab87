use std::fs;

use super::*;
use crate::observability::chain;

/// A provider whose fields the tests replace.
const ECR: &str = r"
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: ecr-credential-provider
    matchImages:
      - '*.dkr.ecr.*.amazonaws.com'
      - public.ecr.aws/team
    defaultCacheDuration: 12h
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args: [get-credentials]
    env:
      - name: AWS_PROFILE
        value: skills
      - name: EMPTY
";

const TOKENS: &str = r"    tokenAttributes:
      serviceAccountTokenAudience: sts.amazonaws.com
      cacheType: ServiceAccount
      requireServiceAccount: true
      requiredServiceAccountAnnotationKeys: [eks.amazonaws.com/role-arn]
      optionalServiceAccountAnnotationKeys: ['Region']
";

fn told(text: &str) -> String {
    match parse(text) {
        Ok(_) => "valid".into(),
        Err(Problem::Yaml(error)) => chain(&error),
        Err(Problem::Field(error)) => chain(&error),
    }
}

#[test]
fn a_configuration_is_read_whole() {
    let found = parse(&format!("{ECR}{TOKENS}")).ok().unwrap();
    let [ecr] = &found[..] else { panic!() };
    assert_eq!(ecr.name, "ecr-credential-provider");
    assert_eq!(ecr.match_images, ["*.dkr.ecr.*.amazonaws.com", "public.ecr.aws/team"]);
    assert_eq!(ecr.default_cache_duration, Duration::from_secs(43_200));
    assert_eq!(ecr.api_version, "credentialprovider.kubelet.k8s.io/v1");
    assert_eq!(ecr.args, ["get-credentials"]);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(ecr.env, [pair("AWS_PROFILE", "skills"), pair("EMPTY", "")]);
    let tokens = ecr.tokens.as_ref().unwrap();
    assert_eq!(tokens.audience, "sts.amazonaws.com");
    assert_eq!(tokens.cache_type, CacheType::ServiceAccount);
    assert!(tokens.required);
    assert_eq!(tokens.required_annotations, ["eks.amazonaws.com/role-arn"]);
    assert_eq!(tokens.optional_annotations, ["Region"]);
}

#[test]
fn json_is_read_as_well() {
    let text = "{\n\t\"kind\": \"CredentialProviderConfig\",\n\t\"apiVersion\":\
        \"kubelet.config.k8s.io/v1\",\"providers\":[{\"name\":\"acr\",\"args\":null,\n\t\t\
        \"matchImages\":[\"*.azurecr.io\"],\"defaultCacheDuration\":\"0s\",\"apiVersion\":\
        \"credentialprovider.kubelet.k8s.io/v1beta1\"}]\n}\n";
    let found = parse(text).ok().unwrap();
    assert_eq!(found[0].match_images, ["*.azurecr.io"]);
    assert!(found[0].default_cache_duration.is_zero() && found[0].tokens.is_none());
}

#[test]
fn mistakes_are_named_with_their_field() {
    let v1 = "credentialprovider.kubelet.k8s.io/v1";
    for (from, to, expected) in [
        ("", "", "valid"),
        ("k8s.io/v1\nkind", "k8s.io/v1alpha1\nkind", "valid"),
        (v1, "credentialprovider.kubelet.k8s.io/v1alpha1", "valid"),
        ("k8s.io/v1\nkind", "k8s.io/v2\nkind", "apiVersion: is not kubelet.config.k8s.io/v1"),
        ("apiVersion: kubelet", "# apiVersion: kubelet", "apiVersion: is missing"),
        ("kind: Cred", "kind: X", "kind: is not CredentialProviderConfig"),
        ("kind:", "extra: 1\nkind:", "the document: there is no field \"extra\""),
        ("    args", "    arg", "providers[0]: there is no field \"arg\""),
        ("ecr-credential-provider", "''", "providers[0].name: is empty"),
        (
            "ecr-credential-provider",
            "../sh",
            "providers[0].name: cannot be a program's name: no slash, no space, not . or ..",
        ),
        (
            "ecr-credential-provider",
            "..",
            "providers[0].name: cannot be a program's name: no slash, no space, not . or ..",
        ),
        (
            "ecr-credential-provider",
            "a b",
            "providers[0].name: cannot be a program's name: no slash, no space, not . or ..",
        ),
        ("public.ecr.aws/team", "'[a.io'", "providers[0].matchImages[1]: has a malformed wildcard"),
        (
            "public.ecr.aws/team",
            "a:b",
            "providers[0].matchImages[1]: has a port that is not a number",
        ),
        ("public.ecr.aws/team", "''", "providers[0].matchImages[1]: names no host"),
        ("public.ecr.aws/team", "{}", "providers[0].matchImages[1]: is not a text"),
        (
            "    matchImages:",
            "    matchImages: x\n    args:",
            "the document: an object has the field \"args\" twice",
        ),
        (
            "12h",
            "twelve",
            "providers[0].defaultCacheDuration: is not a duration such as 12h or 30m",
        ),
        ("12h", "-1h", "providers[0].defaultCacheDuration: is negative"),
        ("    defaultCacheDuration: 12h\n", "", "providers[0].defaultCacheDuration: is missing"),
        ("[get-credentials]", "get", "providers[0].args: is not a list"),
        ("name: EMPTY", "name: A=B", "providers[0].env[1]: has a NUL, or a name with a ="),
        ("name: EMPTY", "value: x", "providers[0].env[1].name: is missing"),
        (
            "args: [get-credentials]",
            "args: &a [x]",
            "line 11: an anchor (&), which is not allowed here",
        ),
    ] {
        assert!(ECR.contains(from), "{from}");
        assert_eq!(told(&ECR.replacen(from, to, 1)), expected, "{from} → {to}");
    }
    let other = ECR.replace(v1, "credentialprovider.kubelet.k8s.io/v2");
    assert!(
        told(&other).starts_with("providers[0].apiVersion: is not one of "),
        "{}",
        told(&other)
    );
    for text in ["", "[]", "x"] {
        assert_eq!(told(text), "the document: is not an object");
    }
}

#[test]
fn token_attributes_are_validated() {
    let whole = format!("{ECR}{TOKENS}");
    let at = "providers[0].tokenAttributes";
    for (from, to, expected) in [
        ("", "", "valid".to_owned()),
        ("cacheType: ServiceAccount", "cacheType: Token", "valid".into()),
        (
            "cacheType: ServiceAccount",
            "cacheType: Pod",
            format!("{at}.cacheType: is not one of ServiceAccount, Token"),
        ),
        ("      cacheType: ServiceAccount\n", "", format!("{at}.cacheType: is missing")),
        ("sts.amazonaws.com", "''", format!("{at}.serviceAccountTokenAudience: is empty")),
        (
            "requireServiceAccount: true",
            "requireServiceAccount: 1",
            format!("{at}.requireServiceAccount: is neither true nor false"),
        ),
        (
            "requireServiceAccount: true",
            "requireServiceAccount: false",
            format!("{at}.requiredServiceAccountAnnotationKeys: needs requireServiceAccount: true"),
        ),
        (
            "'Region'",
            "eks.amazonaws.com/role-arn",
            format!("{at}: \"eks.amazonaws.com/role-arn\" is both required and optional"),
        ),
        ("'Region'", "a, a", format!("{at}.optionalServiceAccountAnnotationKeys[1]: occurs twice")),
        (
            "'Region'",
            "a/b/c",
            format!("{at}.optionalServiceAccountAnnotationKeys[0]: is not an annotation's key"),
        ),
        (
            "'Region'",
            "-a",
            format!("{at}.optionalServiceAccountAnnotationKeys[0]: is not an annotation's key"),
        ),
        (
            "credentialprovider.kubelet.k8s.io/v1",
            "credentialprovider.kubelet.k8s.io/v1beta1",
            format!("{at}: needs the provider's apiVersion credentialprovider.kubelet.k8s.io/v1"),
        ),
        (
            "k8s.io/v1\nkind",
            "k8s.io/v1beta1\nkind",
            "providers[0]: there is no field \"tokenAttributes\"".into(),
        ),
    ] {
        assert!(whole.contains(from), "{from}");
        assert_eq!(told(&whole.replacen(from, to, 1)), expected, "{from} → {to}");
    }
}

#[test]
fn the_files_of_a_directory_are_merged_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path();
    let refused = |path: &Path| load(path).err().map(|error| chain(&error)).unwrap();
    assert_eq!(refused(path), format!("there is no *.json, *.yaml or *.yml file in {path:?}"));
    let named = |name: &str| ECR.replace("ecr-credential-provider", name);
    fs::write(path.join("20.yml"), named("second")).unwrap();
    fs::write(path.join("10.yaml"), named("first")).unwrap();
    fs::write(path.join("30.json"), named("third")).unwrap();
    fs::write(path.join("README.md"), "not one").unwrap();
    fs::create_dir(path.join("40.yaml")).unwrap();
    let names = |path: &Path| -> Vec<String> {
        load(path).ok().unwrap().into_iter().map(|provider| provider.name).collect()
    };
    assert_eq!(names(path), ["first", "second", "third"]);
    assert_eq!(names(&path.join("20.yml")), ["second"]);
    fs::write(path.join("50.json"), named("first")).unwrap();
    let twice = refused(path);
    assert_eq!(
        twice,
        format!(
            "the credential provider configuration {:?} is not valid: providers[0].name: \"first\" \
             is configured twice",
            path.join("50.json")
        )
    );
    let file = path.join("one");
    for (bytes, expected) in [
        (&b"\xff"[..], "is not UTF-8"),
        (&vec![b' '; MAX_FILE + 1], "has more than 1048576 bytes"),
        (b"a: b: c", "cannot be understood: line 1: "),
        (
            b"apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig",
            "providers: is empty",
        ),
    ] {
        fs::write(&file, bytes).unwrap();
        let told = refused(&file);
        assert!(told.contains(expected) && told.contains("/one\""), "{told}");
    }
    fs::remove_file(&file).unwrap();
    assert!(refused(&file).contains("No such file"));
}
