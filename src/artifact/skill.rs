//! The skills of an unpacked artifact: where each is, what it is called, and what is wrong with
//! it (formats.md §6.5 and §6.6).

use serde::{Deserialize, Serialize};

use super::contents::Contents;
use super::front_matter::{self, FrontMatter};
use super::links::{self, LinkError};
use super::locate::{self, Place};
use super::name::{self, NameError};
use super::path::TreePath;
use super::tree::{Node, Tree};
use super::validation::Validation;

pub use super::name::Hints;

/// The largest SKILL.md, in bytes.
pub const MAX_SKILL_MD: u64 = 1 << 20;

/// How an artifact's skills lie in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// One skill, whose name is in its SKILL.md.
    Single,
    /// Skills whose folders are named after them. There may be only one.
    Collection,
    /// The whole tree as it is; no skills were looked for.
    Raw,
}

/// One skill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skill {
    /// The name of the directory that it gets.
    pub name: String,
    /// Its directory in the tree.
    pub root: TreePath,
    /// The description of its SKILL.md.
    pub description: Option<String>,
    /// How many files it has, links counted as the files they become.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Its SKILL.md in the tree; in another case, to be published as SKILL.md.
    pub skill_md: TreePath,
}

/// What of a tree to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// How the skills lie in the artifact.
    pub shape: Shape,
    /// The skills, in the order of their paths. At least one, unless the shape is raw.
    pub skills: Vec<Skill>,
    /// What is odd, for people.
    pub warnings: Vec<String>,
}

impl Layout {
    /// The whole tree, whatever is in it.
    pub fn raw() -> Self {
        Self { shape: Shape::Raw, skills: Vec::new(), warnings: Vec::new() }
    }
}

/// Where a skill is, unless it is the whole artifact.
fn place(root: &str) -> String {
    if root == "." { String::new() } else { format!(" in {root}") }
}

/// Why there is nothing to publish.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// There is no SKILL.md.
    #[error("no SKILL.md in the artifact (found: {found})")]
    NoSkill {
        /// The first files there are, escaped.
        found: String,
    },
    /// Several deep in the tree: nothing says that they belong together.
    #[error(
        "several skills deep in the artifact ({found}): choose one with attribute \"subPath\"; a \
         collection has its skills side by side, at the root or in skills/"
    )]
    Several {
        /// Their SKILL.md files, escaped.
        found: String,
    },
    /// The sub-path to look in is not a directory of the artifact.
    #[error("the artifact has no directory {path}")]
    NoDirectory {
        /// The sub-path, escaped.
        path: String,
    },
    /// SKILL.md is larger than [`MAX_SKILL_MD`].
    #[error("{path:?} has {size} bytes, more than {MAX_SKILL_MD}")]
    TooLarge {
        /// The file.
        path: TreePath,
        /// Its size.
        size: u64,
    },
    /// SKILL.md is not UTF-8.
    #[error("{path:?} is not UTF-8")]
    NotUtf8 {
        /// The file.
        path: TreePath,
    },
    /// SKILL.md cannot be read.
    #[error("cannot read {path:?} of the unpacked artifact")]
    Read {
        /// The file.
        path: TreePath,
        /// Why.
        source: std::io::Error,
    },
    /// A link in a skill that cannot become a file.
    #[error("the skill{} has an unusable link", place(.root))]
    Link {
        /// The skill's directory, escaped.
        root: String,
        /// Why.
        source: LinkError,
    },
    /// A skill has no usable name, or two have the same.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What a strict validation does not let pass.
    #[error("strict validation found: {}", findings.join("; "))]
    Strict {
        /// All of it.
        findings: Vec<String>,
    },
}

/// Finds the skills of a whole tree.
pub fn find(
    tree: &Tree,
    contents: &mut dyn Contents,
    hints: &Hints,
    validation: Validation,
) -> Result<Layout, FindError> {
    find_below(tree, &TreePath::root(), contents, hints, validation)
}

/// Finds the skills below the directory `base`, which is the volume's sub-path. All paths of the
/// layout are the tree's.
pub fn find_below(
    tree: &Tree,
    base: &TreePath,
    contents: &mut dyn Contents,
    hints: &Hints,
    validation: Validation,
) -> Result<Layout, FindError> {
    let located = locate::locate(tree, base)?;
    let mut finder = Finder {
        tree,
        contents,
        hints,
        // What the artifact's metadata say is about the whole artifact, not a part of it.
        whole: base.is_root(),
        validation,
        warnings: located.warnings,
        strict: Vec::new(),
    };
    let mut skills = Vec::with_capacity(located.places.len());
    for place in located.places {
        skills.push(finder.skill(place, located.shape)?);
    }
    name::refuse_collisions(skills.iter().map(|s| (s.name.as_str(), s.root.escaped())))?;
    let Finder { mut warnings, strict, .. } = finder;
    if validation == Validation::Strict {
        warnings.extend(strict);
    }
    Ok(Layout { shape: located.shape, skills, warnings: validation.judge(warnings)? })
}

struct Finder<'a> {
    tree: &'a Tree,
    contents: &'a mut dyn Contents,
    hints: &'a Hints,
    whole: bool,
    validation: Validation,
    warnings: Vec<String>,
    strict: Vec<String>,
}

impl Finder<'_> {
    fn skill(&mut self, place: Place, shape: Shape) -> Result<Skill, FindError> {
        let Place { root, skill_md } = place;
        let links = links::resolve_links(self.tree, &root)
            .map_err(|source| FindError::Link { root: root.escaped(), source })?;
        let target = links.iter().find(|(link, _)| *link == skill_md).map(|(_, file)| file);
        let matter = self.front_matter(target.unwrap_or(&skill_md))?;
        if self.validation != Validation::None {
            let place = |text: &String| format!("{}: {text}", skill_md.escaped());
            self.warnings.extend(matter.warnings.iter().map(place));
            self.strict.extend(matter.strict.iter().map(place));
        }
        let name = self.name(&root, shape, &matter)?;
        let (mut files, mut bytes) = (0, 0u64);
        for size in self
            .tree
            .walk(&root)
            .into_iter()
            .filter_map(|(_, node)| size(node))
            .chain(links.iter().filter_map(|(_, file)| size(self.tree.get(file)?)))
        {
            files += 1;
            bytes = bytes.saturating_add(size);
        }
        Ok(Skill { name, root, description: matter.description, files, bytes, skill_md })
    }

    /// Reads a SKILL.md. Where nothing is validated, one that cannot be understood says nothing.
    fn front_matter(&mut self, path: &TreePath) -> Result<FrontMatter, FindError> {
        let lax = self.validation == Validation::None;
        let size = self.tree.get(path).and_then(size).unwrap_or(0);
        if size > MAX_SKILL_MD {
            return match lax {
                true => Ok(FrontMatter::default()),
                false => Err(FindError::TooLarge { path: path.clone(), size }),
            };
        }
        let bytes = self
            .contents
            .read(path, MAX_SKILL_MD)
            .map_err(|source| FindError::Read { path: path.clone(), source })?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(front_matter::parse(text)),
            Err(_) if lax => Ok(FrontMatter::default()),
            Err(_) => Err(FindError::NotUtf8 { path: path.clone() }),
        }
    }

    fn name(
        &mut self,
        root: &TreePath,
        shape: Shape,
        matter: &FrontMatter,
    ) -> Result<String, FindError> {
        let skill_md = matter.name.as_deref().map(|name| ("SKILL.md", name));
        let folder = root.name().map(|name| ("its folder", name));
        let place = if self.hints.local { "its path" } else { "the repository" };
        let fallback = (place, self.hints.fallback.as_str());
        let hints = self.hints.names.iter().map(|(place, name)| (*place, name.as_str()));
        let mut sources: Vec<(&str, &str)> = Vec::new();
        match shape {
            // Agents know the skills of a collection by their folders.
            Shape::Collection => sources.extend(folder.into_iter().chain(skill_md)),
            _ if self.whole => {
                sources.extend(skill_md.into_iter().chain(hints).chain(folder));
                let is_usable = |name: &str| name::directory_problem(name, false).is_none();
                if !self.hints.local || !sources.iter().any(|(_, name)| is_usable(name)) {
                    sources.push(fallback);
                }
            }
            _ => sources.extend(skill_md.into_iter().chain(folder)),
        }
        // A name that was asked for is the name, or an error.
        if let (Some(given), false) = (&self.hints.given, shape == Shape::Collection) {
            sources = vec![("the name asked for", given)];
        }
        let colon =
            shape == Shape::Collection && folder.is_some_and(|(_, name)| name.contains(':'));
        let chosen = name::choose(&sources, &root.escaped(), colon)?;
        let place = |text: String| match root.is_root() {
            true => text,
            false => format!("{}: {text}", root.escaped()),
        };
        let rule = |text| place(format!("{text} [skillmount: names of directories]"));
        self.warnings.extend(chosen.unusable.into_iter().map(rule));
        if self.validation != Validation::None {
            let text = chosen.disagreement.map(|text| format!("{text} [agentskills.io: name]"));
            self.warnings.extend(text.map(place));
        }
        Ok(chosen.name)
    }
}

fn size(node: &Node) -> Option<u64> {
    match node {
        Node::File(file) => Some(file.size),
        Node::Dir(_) | Node::Symlink(_) => None,
    }
}

#[cfg(test)]
mod tests;
