//! Where in a tree the skills are (formats.md §6.5). The media type does not tell: about half of
//! the producers put a folder around the skill, and images hold anything.

use std::collections::VecDeque;

use super::path::TreePath;
use super::skill::{FindError, Shape};
use super::tree::{Dir, Node, Tree};

/// The only name that agents look for.
pub(super) const SKILL_MD: &str = "SKILL.md";
/// How many levels of directories are searched.
const MAX_LEVELS: usize = 4;
/// How many directories are searched.
const MAX_DIRS: usize = 2000;
/// How many paths a message lists.
const LISTED: usize = 10;

/// Where skills are kept in trees that hold more, in the order in which they are looked for.
const CONTAINERS: [&str; 4] = ["skills", ".agents/skills", ".claude/skills", "module-root/skills"];
/// What makes a directory a plugin's root.
const PLUGIN_FILES: [&str; 2] = ["plugin.json", ".claude-plugin/plugin.json"];
/// Files that say nothing about how many skills there are, when they lie beside one.
const JUNK_FILES: [&str; 5] =
    ["Dockerfile", ".dockerignore", "skill.yaml", "catalog.yaml", "config.json"];
const JUNK_PREFIXES: [&str; 2] = ["README", "LICENSE"];
const JUNK_DIR: &str = ".skill";

/// A skill's place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) root: TreePath,
    /// Its SKILL.md, whatever its case.
    pub(super) skill_md: TreePath,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) shape: Shape,
    pub(super) places: Vec<Place>,
    /// What is odd about the places.
    pub(super) warnings: Vec<String>,
}

/// Finds the skills below `base`.
pub(super) fn locate(tree: &Tree, base: &TreePath) -> Result<Located, FindError> {
    let Some(dir) = tree.dir(base) else {
        return Err(FindError::NoDirectory { path: base.escaped() });
    };
    if has_skill_md(dir) {
        return located(Shape::Single, vec![base.clone()], Vec::new());
    }
    let skills = skill_dirs(base, dir);
    if !skills.is_empty() {
        let shape = match is_alone(dir) {
            true => Shape::Single,
            false => Shape::Collection,
        };
        return located(shape, skills, Vec::new());
    }
    let mut skills = containers(tree, base);
    if skills.is_empty() {
        skills = plugins(tree, base, dir);
    }
    if !skills.is_empty() {
        return located(Shape::Collection, skills, Vec::new());
    }
    if let Some(name) = wrong_case(dir) {
        let skill_md = join(base, name);
        let warnings = vec![format!(
            "{}: agents look for SKILL.md only; published under that name \
             [agentskills.io: directory structure]",
            skill_md.escaped()
        )];
        let places = vec![Place { root: base.clone(), skill_md }];
        return Ok(Located { shape: Shape::Single, places, warnings });
    }
    search(tree, base, dir)
}

fn located(
    shape: Shape,
    roots: Vec<TreePath>,
    warnings: Vec<String>,
) -> Result<Located, FindError> {
    let place = |root: TreePath| Place { skill_md: join(&root, SKILL_MD), root };
    Ok(Located { shape, places: roots.into_iter().map(place).collect(), warnings })
}

/// A name of the tree below a path of the tree: both are clean, so it cannot fail.
fn join(path: &TreePath, name: &str) -> TreePath {
    path.join(name).unwrap_or_else(|_| path.clone())
}

/// A link counts: whether it leads to a file of the skill is checked when it is read, so that a
/// bad one is an error and not a missing file.
fn has_skill_md(dir: &Dir) -> bool {
    matches!(dir.entries.get(SKILL_MD), Some(Node::File(_) | Node::Symlink(_)))
}

/// The visible directories in `dir` that hold a SKILL.md.
fn skill_dirs(at: &TreePath, dir: &Dir) -> Vec<TreePath> {
    visible(dir).filter(|(_, dir)| has_skill_md(dir)).map(|(name, _)| join(at, name)).collect()
}

fn visible(dir: &Dir) -> impl Iterator<Item = (&str, &Dir)> {
    dir.entries.iter().filter_map(|(name, node)| match node {
        Node::Dir(inner) if !name.starts_with('.') => Some((name.as_str(), inner)),
        Node::Dir(_) | Node::File(_) | Node::Symlink(_) => None,
    })
}

/// Whether there is one skill and nothing beside it but junk.
fn is_alone(dir: &Dir) -> bool {
    let mut skills = 0;
    for (name, node) in &dir.entries {
        match node {
            Node::Dir(_) if name == JUNK_DIR => {}
            Node::Dir(inner) if !name.starts_with('.') && has_skill_md(inner) => skills += 1,
            Node::File(_) | Node::Symlink(_)
                if JUNK_FILES.contains(&name.as_str())
                    || JUNK_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) => {}
            Node::Dir(_) | Node::File(_) | Node::Symlink(_) => return false,
        }
    }
    skills == 1
}

fn containers(tree: &Tree, base: &TreePath) -> Vec<TreePath> {
    CONTAINERS
        .iter()
        .map(|container| join(base, container))
        .filter_map(|path| Some(skill_dirs(&path, tree.dir(&path)?)))
        .find(|skills| !skills.is_empty())
        .unwrap_or_default()
}

/// The skills of all plugins whose root is one of the first two levels of directories.
fn plugins(tree: &Tree, base: &TreePath, dir: &Dir) -> Vec<TreePath> {
    let mut roots = Vec::new();
    for (name, inner) in visible(dir) {
        let path = join(base, name);
        let deeper: Vec<_> = visible(inner).map(|(name, _)| join(&path, name)).collect();
        roots.push(path);
        roots.extend(deeper);
    }
    let is_plugin =
        |root: &TreePath| PLUGIN_FILES.iter().any(|file| tree.is_file(&join(root, file)));
    let skills = roots.iter().filter(|root| is_plugin(root)).filter_map(|root| {
        let path = join(root, CONTAINERS[0]);
        Some(skill_dirs(&path, tree.dir(&path)?))
    });
    skills.flatten().collect()
}

/// A file that would be SKILL.md in another case; `skill.md` before others.
fn wrong_case(dir: &Dir) -> Option<&str> {
    let is_file = |node: &Node| matches!(node, Node::File(_) | Node::Symlink(_));
    let mut names =
        dir.entries.iter().filter(|(_, node)| is_file(node)).map(|(name, _)| name.as_str());
    // In byte order upper-case comes first, and the all lower-case name last.
    names.rfind(|name| name.eq_ignore_ascii_case(SKILL_MD))
}

/// Level by level through everything but Git's own directory. Below a skill nothing is searched:
/// what it holds is its own.
fn search(tree: &Tree, base: &TreePath, dir: &Dir) -> Result<Located, FindError> {
    let mut queue = VecDeque::from([(base.clone(), dir, 0)]);
    let mut found = Vec::new();
    let mut searched = 0;
    while let Some((path, dir, level)) = queue.pop_front() {
        searched += 1;
        if searched > MAX_DIRS {
            break;
        }
        if has_skill_md(dir) {
            found.push(path);
            continue;
        }
        if level == MAX_LEVELS {
            continue;
        }
        for (name, node) in &dir.entries {
            if let Node::Dir(inner) = node
                && name != ".git"
            {
                queue.push_back((join(&path, name), inner, level + 1));
            }
        }
    }
    match found.as_slice() {
        [] => {
            let files =
                tree.walk(base).into_iter().filter(|(_, node)| !matches!(node, Node::Dir(_)));
            Err(FindError::NoSkill { found: listed(files.map(|(path, _)| path)) })
        }
        [root] => {
            let mut warnings = vec![format!(
                "the only SKILL.md found is deep in the artifact, in {}; took that directory \
                 [agentskills.io: directory structure]",
                root.escaped()
            )];
            if searched > MAX_DIRS {
                warnings.push(format!(
                    "the artifact has more than {MAX_DIRS} directories; not all were searched \
                     [skillmount: search]"
                ));
            }
            located(Shape::Single, found, warnings)
        }
        _ => {
            let files = found.iter().map(|root| join(root, SKILL_MD));
            Err(FindError::Several { found: listed(files) })
        }
    }
}

/// The first paths of many, for a message.
fn listed(paths: impl Iterator<Item = TreePath>) -> String {
    let mut paths = paths.map(|path| path.escaped());
    let mut list: Vec<String> = paths.by_ref().take(LISTED).collect();
    if list.is_empty() {
        return "no files".into();
    }
    if paths.next().is_some() {
        list.push("…".into());
    }
    list.join(", ")
}

#[cfg(test)]
mod tests;
