//! Sample skills in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::blobs::{Entry, Tar};

/// One file of a skill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub content: Vec<u8>,
    pub mode: u32,
}

/// A skill: a name, and files below its root in the order of their paths.
#[derive(Debug, Clone)]
pub struct Skill {
    pub name: String,
    pub description: String,
    pub version: String,
    pub files: BTreeMap<String, File>,
}

/// The skill of the fixtures: SKILL.md, skill.yaml, an executable script and a reference.
pub fn code_review() -> Skill {
    Skill::new("code-review", "Reviews code.")
        .file(
            "skill.yaml",
            "apiVersion: skillimage.io/v1alpha1\nkind: SkillCard\nmetadata:\n  name: code-review\n  \
             namespace: acme\n  version: 1.0.0\n  description: Reviews code.\n",
            0o644,
        )
        .file("scripts/run.sh", "#!/bin/sh\necho hi\n", 0o755)
        .file("references/REFERENCE.md", "# Ref\n", 0o644)
}

/// A second skill, of SKILL.md and a template.
pub fn docs_writer() -> Skill {
    Skill::new("docs-writer", "Writes documentation.").file(
        "assets/template.md",
        "# Title\n",
        0o644,
    )
}

/// A skill of `files` files of `bytes` bytes each, beside SKILL.md; every tenth is executable.
pub fn large(files: u32, bytes: usize) -> Skill {
    let mut skill = Skill::new("large", "Has many files.");
    for index in 0..files {
        // Not compressible to nothing: the unpacker's ratio limit is another test's matter.
        let content: Vec<u8> = (0..bytes)
            .scan(index.wrapping_mul(2_654_435_761) | 1, |seed, _| {
                *seed ^= *seed << 13;
                *seed ^= *seed >> 17;
                *seed ^= *seed << 5;
                Some((*seed >> 24) as u8)
            })
            .collect();
        let mode = if index % 10 == 0 { 0o755 } else { 0o644 };
        skill = skill.file(&format!("data/{index:05}.bin"), content, mode);
    }
    skill
}

impl Skill {
    /// A skill of version 1.0.0 with a SKILL.md of this name and description.
    pub fn new(name: &str, description: &str) -> Self {
        let text = format!(
            "---\nname: {name}\ndescription: {description}\n---\n\n# {name}\n\nDo it well.\n"
        );
        Self {
            name: name.into(),
            description: description.into(),
            version: "1.0.0".into(),
            files: BTreeMap::new(),
        }
        .file("SKILL.md", text, 0o644)
    }

    /// A directory on disk, such as `examples/skills/code-review`. Links are left out.
    pub fn from_dir(directory: impl AsRef<Path>) -> Self {
        let directory = directory.as_ref();
        let name = directory.file_name().unwrap().to_str().unwrap();
        let mut skill = Self::new(name, "");
        for (path, content) in super::tree::contents(directory) {
            let status = std::fs::metadata(directory.join(&path)).unwrap();
            let executable = std::os::unix::fs::PermissionsExt::mode(&status.permissions()) & 0o111;
            let mode = if executable != 0 { 0o755 } else { 0o644 };
            skill = skill.file(&path, content, mode);
        }
        let text = String::from_utf8(skill.files["SKILL.md"].content.clone()).unwrap();
        let described = text.lines().find_map(|line| line.strip_prefix("description: "));
        skill.description = described.unwrap_or_default().to_owned();
        skill
    }

    /// Adds or replaces a file.
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.files.insert(path.into(), File { content: content.into(), mode });
        self
    }

    pub fn without(mut self, path: &str) -> Self {
        self.files.remove(path);
        self
    }

    pub fn version(self, version: &str) -> Self {
        Self { version: version.into(), ..self }
    }

    /// The directories that the files need, parents first.
    pub fn dirs(&self) -> BTreeSet<String> {
        let parents = |path: &String| {
            let parts = Path::new(path).ancestors().skip(1);
            parts.map(|part| part.display().to_string()).collect::<Vec<_>>()
        };
        self.files.keys().flat_map(parents).filter(|path| !path.is_empty()).collect()
    }

    /// The entries added to an archive below `prefix` (empty, `./` or `name/`), with directories.
    pub fn add_to(&self, mut tar: Tar, prefix: &str) -> Tar {
        if !prefix.is_empty() {
            tar = tar.dir(prefix);
        }
        for dir in self.dirs() {
            tar = tar.dir(&format!("{prefix}{dir}"));
        }
        for (path, file) in &self.files {
            tar = tar.file(&format!("{prefix}{path}"), &file.content, file.mode);
        }
        tar
    }

    /// An archive whose root is the skill's.
    pub fn tar(&self) -> Tar {
        self.add_to(Tar::new(), "")
    }

    /// An archive with the skill below its name.
    pub fn tar_below_name(&self) -> Tar {
        self.add_to(Tar::new(), &format!("{}/", self.name))
    }

    /// An archive as ToolHive packs: no directories, and no file executable.
    pub fn tar_flat_modes(&self) -> Tar {
        self.files.iter().fold(Tar::new(), |tar, (path, file)| {
            tar.entry(Entry::new(path, b'0', 0o644).content(file.content.clone()))
        })
    }

    /// What [`super::tree::listing`] shows once the skill is laid out.
    pub fn listing(&self) -> Vec<String> {
        let dirs = self.dirs().into_iter().map(|path| (path.clone(), format!("drwxr-xr-x {path}")));
        let files = self.files.iter().map(|(path, file)| {
            let mode = if file.mode & 0o111 != 0 { "-rwxr-xr-x" } else { "-rw-r--r--" };
            (path.clone(), format!("{mode} {path} {}", file.content.len()))
        });
        dirs.chain(files).collect::<BTreeMap<_, _>>().into_values().collect()
    }
}
