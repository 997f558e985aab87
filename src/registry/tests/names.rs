use super::*;

#[test]
fn a_listed_mirror_is_known_however_it_is_written() {
    for (url, listed, expected) in [
        ("https://m.example", "m.example", true),
        ("https://m.example", "M.Example:443", true),
        ("https://M.Example:443", "m.example", true),
        ("https://m.example:5000", "M.example:5000", true),
        ("https://m.example:5000", "m.example", false),
        ("http://m.example:80", "m.example:80", true),
        ("http://m.example", "m.example:443", false),
        ("https://m.example", "m.example:80", false),
        ("https://m.example", "n.example", false),
        ("https://r.example:443", "r.example", false),
    ] {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("r.example");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("hosts.toml"), format!("server = \"{url}\"")).unwrap();
        assert_eq!(
            names(root.path().join("none"), root.path().into(), listed),
            expected,
            "{url} {listed}"
        );
    }
    // As the file has it.
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("registries.conf");
    let text = "[[registry]]\nlocation = \"M.Example:443\"\nprefix = \"r.example\"";
    std::fs::write(&file, text).unwrap();
    assert!(names(file, root.path().join("none"), "m.example"));
}

/// Whether the only host for `r.example/acme/skill` is shown the logins for that registry, as
/// for a mirror.
fn names(file: PathBuf, directory: PathBuf, listed: &str) -> bool {
    let hosts = HostsConfig { directories: vec![directory], registries_conf: Some(file) };
    let mirror_credentials = vec![listed.to_owned()];
    let registry = client_with(RegistryConfig { hosts, mirror_credentials, ..quick() });
    let repository = repository("r.example");
    let routes = registry.0.hosts.routes(&repository).unwrap();
    let route = routes.all().next().unwrap();
    route.is_mirror && registry.names(route, &repository).contains(&repository)
}
