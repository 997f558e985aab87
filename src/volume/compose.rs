//! What a volume shows: which directories of which trees, chosen by the attributes.

use std::path::PathBuf;
use std::sync::Arc;

use super::attributes::{Attributes, Layout};
use crate::artifact::skill::Shape;
use crate::mount::MAX_LOWERS;
use crate::pull::Pulled;
use crate::store::{StoredTree, Totals};

/// The directories that make up a volume, merged into its root. Their names do not collide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composition {
    /// Directories in the store.
    pub directories: Vec<PathBuf>,
    /// The content keys of the trees they belong to, without duplicates.
    pub trees: Vec<String>,
    /// The names of the skills that the volume shows; empty for a raw volume.
    pub skills: Vec<String>,
    /// How much the volume shows.
    pub totals: Totals,
    /// The layout that was chosen.
    pub layout: Layout,
}

/// Why the skills that were pulled do not fit into the volume that was asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ComposeError {
    /// `skills` names one that is not there.
    #[error("there is no skill {wanted:?} in {reference} (it has: {available})")]
    NoSuchSkill {
        /// The name.
        wanted: String,
        /// Where it was looked for.
        reference: String,
        /// What there is.
        available: String,
    },
    /// A flat volume shows one skill.
    #[error(
        "layout \"flat\" shows one skill, but {reference} has {count}: {available}; \
         use layout \"nested\", or name one of them in \"skills\""
    )]
    NotFlat {
        /// The reference.
        reference: String,
        /// How many skills it has.
        count: usize,
        /// Their names.
        available: String,
    },
    /// A raw volume shows one artifact.
    #[error(
        "layout \"raw\" shows one artifact as it is, but {reference} is a collection of {count}; \
         use layout \"nested\""
    )]
    NotRaw {
        /// The reference.
        reference: String,
        /// How many artifacts it points to.
        count: usize,
    },
    /// `name` renames one skill.
    #[error("attribute \"name\" names one skill, but {reference} has {count}: {available}")]
    NotOne {
        /// The reference.
        reference: String,
        /// How many skills it has.
        count: usize,
        /// Their names.
        available: String,
    },
    /// More skills than one mount can show.
    #[error(
        "the volume would have {count} skills, and one has at most {MAX_SKILLS}: name those you \
         need in \"skills\", or use several volumes"
    )]
    TooMany {
        /// How many skills it would have.
        count: usize,
    },
    /// Two skills want one directory.
    #[error("skill {name:?} comes from both {first} and {second}: one volume has one of each name")]
    Collision {
        /// The name.
        name: String,
        /// Where it came from first.
        first: String,
        /// Where it came from again.
        second: String,
    },
}

/// The most skills of a volume: the lower directories of a seal, less the empty one below them.
const MAX_SKILLS: usize = MAX_LOWERS - 1;

struct Chosen<'a> {
    tree: &'a Arc<StoredTree>,
    slot: usize,
    name: &'a str,
    totals: Totals,
    reference: String,
}

/// Chooses what the volume shows of what was pulled.
pub fn compose(
    attributes: &Attributes,
    pulled: &[Arc<Pulled>],
) -> Result<Composition, ComposeError> {
    if attributes.layout == Layout::Raw {
        // Laid over each other, the files of one would hide those of another.
        if let Some(many) = pulled.iter().find(|p| p.trees.len() > 1) {
            let (reference, count) = (many.source.to_string(), many.trees.len());
            return Err(ComposeError::NotRaw { reference, count });
        }
        let trees: Vec<_> = pulled.iter().flat_map(|p| &p.trees).collect();
        return Ok(Composition {
            directories: trees.iter().map(|tree| tree.flat(0)).collect(),
            totals: trees.iter().map(|tree| tree.info.totals).sum(),
            trees: keys(trees),
            skills: Vec::new(),
            layout: Layout::Raw,
        });
    }
    let chosen = choose(attributes, pulled)?;
    let layout = match attributes.layout {
        Layout::Auto => auto(attributes, pulled),
        layout => layout,
    };
    let names = || chosen.iter().map(|c| c.name).collect::<Vec<_>>().join(", ");
    let first = || chosen.first().map(|c| c.reference.clone()).unwrap_or_default();
    let directories = match (layout, chosen.as_slice()) {
        (Layout::Flat, [only]) => vec![only.tree.flat(only.slot)],
        (Layout::Flat, many) => {
            return Err(ComposeError::NotFlat {
                reference: first(),
                count: many.len(),
                available: names(),
            });
        }
        (_, many) if attributes.name.is_some() && many.len() != 1 => {
            return Err(ComposeError::NotOne {
                reference: first(),
                count: many.len(),
                available: names(),
            });
        }
        (_, many) if many.len() > MAX_SKILLS => {
            return Err(ComposeError::TooMany { count: many.len() });
        }
        (_, many) => {
            collisions(many)?;
            many.iter().map(|c| c.tree.nested(c.slot)).collect()
        }
    };
    Ok(Composition {
        directories,
        trees: keys(chosen.iter().map(|c| c.tree)),
        skills: chosen.iter().map(|c| c.name.to_owned()).collect(),
        totals: chosen.iter().map(|c| c.totals).sum(),
        layout,
    })
}

/// Flat for a single skill, unless its directory was given a name; nested otherwise.
fn auto(attributes: &Attributes, pulled: &[Arc<Pulled>]) -> Layout {
    let single = match pulled {
        [one] => !one.collection && one.trees.iter().all(|t| t.info.shape == Shape::Single),
        _ => false,
    };
    if single && attributes.name.is_none() { Layout::Flat } else { Layout::Nested }
}

/// The skills that the volume wants: all, or those that `skills` names. A name may come from any
/// of the references, but it must come from one.
fn choose<'a>(
    attributes: &Attributes,
    pulled: &'a [Arc<Pulled>],
) -> Result<Vec<Chosen<'a>>, ComposeError> {
    let mut all = Vec::new();
    for pulled in pulled {
        for tree in &pulled.trees {
            for (slot, skill) in tree.info.skills.iter().enumerate() {
                let reference = pulled.source.to_string();
                all.push(Chosen { tree, slot, name: &skill.name, totals: skill.totals, reference });
            }
        }
    }
    if attributes.skills.is_empty() {
        return Ok(all);
    }
    if let Some(wanted) =
        attributes.skills.iter().find(|wanted| all.iter().all(|c| c.name != wanted.as_str()))
    {
        let references: Vec<_> = pulled.iter().map(|p| p.source.to_string()).collect();
        return Err(ComposeError::NoSuchSkill {
            wanted: wanted.clone(),
            reference: references.join(", "),
            available: all.iter().map(|c| c.name).collect::<Vec<_>>().join(", "),
        });
    }
    all.retain(|c| attributes.skills.iter().any(|wanted| wanted == c.name));
    Ok(all)
}

/// Names must differ even where case does not count: an agent's host may not tell them apart.
fn collisions(chosen: &[Chosen<'_>]) -> Result<(), ComposeError> {
    for (index, this) in chosen.iter().enumerate() {
        let folded = this.name.to_lowercase();
        if let Some(first) = chosen[..index].iter().find(|c| c.name.to_lowercase() == folded) {
            return Err(ComposeError::Collision {
                name: this.name.into(),
                first: first.reference.clone(),
                second: this.reference.clone(),
            });
        }
    }
    Ok(())
}

fn keys<'a>(trees: impl IntoIterator<Item = &'a Arc<StoredTree>>) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for tree in trees {
        if !keys.contains(&tree.info.key) {
            keys.push(tree.info.key.clone());
        }
    }
    keys
}
