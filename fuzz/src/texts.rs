//! Targets whose input is a text: JSON, YAML, Markdown, a line.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use skillmount::artifact::classify::{Class, classify};
use skillmount::artifact::collection::{self as collections, MAX_ENTRIES};
use skillmount::artifact::config::Config;
use skillmount::artifact::contents::Contents;
use skillmount::artifact::descriptor::Platform;
use skillmount::artifact::document::{Document, MAX_CHILDREN, Manifest};
use skillmount::artifact::front_matter as matter;
use skillmount::artifact::index::{Choice, choose, no_platform, same_layers};
use skillmount::artifact::lifecycle::Status;
use skillmount::artifact::name::{Hints, hints};
use skillmount::artifact::path::TreePath;
use skillmount::artifact::plan::Action;
use skillmount::artifact::skill::find;
use skillmount::artifact::tree::{File, Node, Tree};
use skillmount::artifact::validation::Validation;
use skillmount::credentials::Keyring;
use skillmount::mount::parse_mountinfo;
use skillmount::reference::{Reference, Selector};

/// What registries send, and what they should not.
const CONTENT_TYPES: [Option<&str>; 8] = [
    None,
    Some("application/vnd.oci.image.manifest.v1+json"),
    Some("application/vnd.oci.image.index.v1+json"),
    Some("application/vnd.docker.distribution.manifest.v2+json"),
    Some("application/vnd.docker.distribution.manifest.list.v2+json"),
    Some("application/json; charset=utf-8"),
    Some("text/plain"),
    Some(""),
];

const CONFIG_TYPES: [&str; 5] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.redhat.agentskill.config.v1+json",
    "application/vnd.agentskills.skill.config.v1+json",
    "application/vnd.oci.empty.v1+json",
];

/// A manifest or an index. The last byte chooses the `Content-Type`.
pub fn document(data: &[u8]) {
    let (body, control) = controlled(data);
    let content_type = CONTENT_TYPES[usize::from(control) % CONTENT_TYPES.len()];
    match Document::parse(body, content_type) {
        Ok(Document::Index(index)) => {
            assert!(index.manifests.len() <= MAX_CHILDREN);
            let platform =
                Platform { architecture: "amd64".into(), os: "linux".into(), variant: None };
            let known = |digest| index.manifests.iter().any(|child| child.digest == digest);
            match choose(&index, &platform) {
                Ok(Choice::One { child, .. }) => assert!(known(child.digest)),
                Ok(Choice::Compare(children)) => {
                    assert!(children.len() > 1);
                    drop(no_platform(&children, &platform).to_string());
                    assert!(children.into_iter().all(|child| known(child.digest)));
                }
                Ok(Choice::Collection(members)) => {
                    assert!((1..=MAX_CHILDREN).contains(&members.len()));
                    for member in members {
                        assert!(known(member.descriptor.digest.clone()));
                        assert!(member.name.is_none_or(|name| is_name(&name)));
                        if let Some(reference) = member.reference {
                            drop(reference.parse::<Reference>());
                        }
                    }
                }
                Err(error) => drop(error.to_string()),
            }
        }
        Ok(Document::Manifest(manifest)) => {
            assert!(same_layers(&[manifest.clone(), manifest.clone()]));
            drop(Status::of(&manifest).map(|status| (status.to_string(), status.advice())));
            drop(hints(&manifest, None, "repository"));
            for layer in &manifest.layers {
                drop(layer.inline());
            }
            match classify(&manifest) {
                Ok(Class::Tree(plan)) => {
                    assert!(!plan.layers.is_empty());
                    assert!(plan.layers.len() <= manifest.layers.len());
                    assert_eq!(plan.key("options").len(), 64);
                    let _: u64 = plan.download_bytes();
                    for layer in &plan.layers {
                        assert!(manifest.layers.contains(&layer.descriptor));
                        if let Action::File { title } | Action::TitledArchive { title } =
                            &layer.action
                        {
                            assert!(!title.is_root());
                        }
                    }
                }
                Ok(Class::SkillimageCollection(blob)) => assert!(manifest.layers.contains(&blob)),
                Err(error) => drop(chain(&error)),
            }
        }
        Err(error) => drop(chain(&error)),
    }
}

/// A config blob. The last byte chooses the media type; what stands before the first NUL is the
/// manifest's annotation.
pub fn config(data: &[u8]) {
    let (data, control) = controlled(data);
    let (annotation, body) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (std::str::from_utf8(&data[..at]).ok(), &data[at + 1..]),
        None => (None, data),
    };
    let manifest =
        config_manifest(CONFIG_TYPES[usize::from(control) % CONFIG_TYPES.len()], annotation);
    match Config::parse(&manifest, body) {
        Ok(Some(config)) => drop(config.findings(&manifest)),
        Ok(None) => {}
        Err(error) => drop(chain(&error)),
    }
    let hints = hints(&manifest, Some(body), "repository");
    assert_eq!(hints.fallback, "repository");
    assert!(hints.names.iter().all(|(_, name)| !name.is_empty() && name.trim() == name));
    // Whatever the metadata say, what comes out can be a directory's name.
    let skill_md = "---\ndescription: d\n---\n";
    for validation in [Validation::None, Validation::Lenient, Validation::Strict] {
        let mut contents = One(skill_md.as_bytes());
        if let Ok(layout) = find(&tree_of_one(skill_md.len()), &mut contents, &hints, validation) {
            assert!(is_name(&layout.skills[0].name), "{:?}", layout.skills[0].name);
        }
    }
}

fn config_manifest(media_type: &str, annotation: Option<&str>) -> Manifest {
    let json = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{media_type}","size":2,"digest":"sha256:{:064}"}},"layers":[]}}"#,
        0
    );
    let Ok(Document::Manifest(mut manifest)) = Document::parse(json.as_bytes(), None) else {
        panic!("the target's own manifest")
    };
    if let Some(annotation) = annotation {
        manifest.annotations.insert("io.agentskills.skill.name".into(), annotation.into());
    }
    manifest
}

/// A SKILL.md, by itself and as the only file of an artifact.
pub fn front_matter(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let found = matter::parse(text);
        for field in [&found.name, &found.description].into_iter().flatten() {
            assert!(!field.is_empty() && field.trim() == field);
        }
        // Warnings are bounded by what is read, not by what is repeated in them.
        let told: usize = found.warnings.iter().chain(&found.strict).map(String::len).sum();
        assert!(told <= 16 * text.len() + 4096, "{told} bytes told of {}", text.len());
    }
    let tree = tree_of_one(data.len());
    let hints = Hints { fallback: "fallback".into(), ..Hints::default() };
    let find = |validation| find(&tree, &mut One(data), &hints, validation);
    let found = [Validation::None, Validation::Lenient, Validation::Strict].map(find);
    for layout in found.iter().flatten() {
        let [skill] = layout.skills.as_slice() else { panic!("{layout:?}") };
        assert!(is_name(&skill.name), "{:?}", skill.name);
        assert_eq!((skill.files, skill.bytes), (1, data.len() as u64));
    }
    // What a stricter judge lets pass, a milder one does too, under the same name.
    for pair in found.windows(2) {
        if let Ok(strict) = &pair[1] {
            let mild = pair[0].as_ref().expect("stricter passed, milder did not");
            assert_eq!(strict.skills[0].name, mild.skills[0].name);
        }
    }
    for error in found.iter().filter_map(|found| found.as_ref().err()) {
        drop(chain(error));
    }
}

/// A skillimage collection.
pub fn collection(data: &[u8]) {
    match collections::parse(data) {
        Ok(collection) => {
            assert!((1..=MAX_ENTRIES).contains(&collection.entries.len()));
            let mut names = BTreeSet::new();
            for entry in &collection.entries {
                assert!(is_name(&entry.name) && names.insert(&entry.name), "{:?}", entry.name);
                reads_back(&entry.image);
            }
            for warning in &collection.warnings {
                assert!(!warning.chars().any(char::is_control), "{warning:?}");
            }
        }
        Err(error) => drop(chain(&error)),
    }
}

/// A reference.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<Reference>() {
        Ok(reference) => {
            reads_back(&reference);
            let repository = reference.repository();
            assert!(!repository.registry().is_empty() && !repository.path().is_empty());
            assert!(!repository.path().split('/').any(|part| matches!(part, "" | "." | "..")));
            assert!(!repository.last_segment().contains('/'));
            if let Selector::Tag(tag) = reference.selector() {
                assert!(!tag.is_empty() && tag.len() <= 128 && !tag.contains('/'));
            }
        }
        Err(error) => drop(chain(&error)),
    }
}

/// A reference's text is read as the same one; an absent tag is shown as what it means.
fn reads_back(reference: &Reference) {
    let again: Reference = reference.to_string().parse().expect("what was shown");
    assert_eq!(again.repository(), reference.repository());
    assert_eq!(again.selector(), reference.selector());
    assert_eq!(again.to_string(), reference.to_string());
}

/// A pull secret. The last byte chooses its key.
pub fn docker_config(data: &[u8]) {
    const KEYS: [&str; 4] = [".dockerconfigjson", ".dockercfg", "config.json", "password"];
    let (body, control) = controlled(data);
    let mut secret = BTreeMap::new();
    let key = KEYS[usize::from(control) % KEYS.len()];
    if key == "password" {
        // The single login: address, user and password in lines.
        let mut lines = body.split(|byte| *byte == b'\n');
        for field in ["serverAddress", "username", "password", "identityToken"] {
            secret.insert(field.to_owned(), lines.next().unwrap_or_default().to_vec());
        }
    } else {
        secret.insert(key.to_owned(), body.to_vec());
    }
    match Keyring::from_secret(&secret, "a secret") {
        Ok(mut keyring) => {
            keyring.merge(keyring.clone());
            for image in ["reg.io/a/b", "reg.io:5000/a", "a.b.reg.io/x", "alpine", "[::1]:5000/a"] {
                let image: Reference = image.parse().expect("the target's own reference");
                let matching = keyring.matching(image.repository());
                assert!(matching.is_empty() || !keyring.is_empty());
            }
            drop(format!("{keyring:?} {:?}", keyring.warnings()));
        }
        Err(error) => drop(chain(&error)),
    }
}

/// `/proc/self/mountinfo`. A mount point's name is anybody's.
pub fn mountinfo(data: &[u8]) {
    match parse_mountinfo(data) {
        Ok(mounts) => assert!(mounts.len() <= data.len()),
        Err(error) => drop(chain(&error)),
    }
}

/// The input without its last byte, and that.
fn controlled(data: &[u8]) -> (&[u8], u8) {
    data.split_last().map_or((data, 0), |(control, rest)| (rest, *control))
}

/// Whether a name can be that of a directory and no more.
pub(crate) fn is_name(name: &str) -> bool {
    TreePath::parse(name.as_bytes())
        .is_ok_and(|path| path.depth() == 1 && path.name() == Some(name))
        && !name.starts_with('.')
}

/// An error with its causes, as people see it: it must not fail either.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn tree_of_one(size: usize) -> Tree {
    let mut tree = Tree::default();
    let file = File { size: size as u64, executable: false, layer: 0 };
    tree.root_mut().entries.insert("SKILL.md".into(), Node::File(file));
    tree
}

/// The contents of a tree of one file.
struct One<'a>(&'a [u8]);

impl Contents for One<'_> {
    fn read(&mut self, _: &TreePath, max: u64) -> io::Result<Vec<u8>> {
        let most = usize::try_from(max).unwrap_or(usize::MAX).min(self.0.len());
        Ok(self.0[..most].to_vec())
    }
}
