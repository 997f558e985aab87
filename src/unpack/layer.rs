//! One layer's entries, put into the tree and the sink.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};

use crate::artifact::path::TreePath;
use crate::artifact::tree::{Dir, File, Node, Symlink};

use super::error::Problem;
use super::sink::Sink;
use super::state::{State, child, dir_mut, kind_of, layer_of, prefix};
use super::tar::{Archive, Entry, Kind};
use super::whiteout::{self, Mark};

/// zip cannot tell an earlier time (1980-01-01), and tools that zip a skill fail at one.
const EARLIEST: u64 = 315_532_800;
/// Linux makes no longer symbolic link (`PATH_MAX`).
const MAX_TARGET: usize = 4096;

/// More warnings than this help nobody.
const MAX_WARNINGS: usize = 100;
/// How many characters of a name a warning shows.
const MAX_SHOWN: usize = 128;

/// Where an archive's entries go.
#[derive(Debug)]
pub(super) enum Place<'a> {
    /// Below this path.
    Below(&'a TreePath),
    /// Where they say, which must be at or below this path.
    Within(&'a TreePath),
}

/// Applies one layer.
#[derive(Debug)]
pub(super) struct Layer<'a, S> {
    state: &'a mut State<S>,
    /// What is one source: conflicts inside it are errors, others are replacements.
    unit: usize,
    whiteouts: bool,
    hidden: BTreeSet<TreePath>,
    /// Whether a name that is absolute, or has a backslash, was told of.
    absolute: bool,
    backslash: bool,
}

impl<'a, S: Sink> Layer<'a, S> {
    pub(super) fn new(state: &'a mut State<S>, unit: usize, whiteouts: bool) -> Self {
        let hidden = BTreeSet::new();
        Self { state, unit, whiteouts, hidden, absolute: false, backslash: false }
    }

    fn warn(&mut self, warning: String) {
        if self.state.warnings.len() < MAX_WARNINGS {
            self.state.warnings.push(warning);
        }
    }

    /// Names that tools read in more than one way: told of once each.
    fn doubtful(&mut self, name: &[u8]) {
        let shown = || String::from_utf8_lossy(name).chars().take(MAX_SHOWN).collect::<String>();
        if name.starts_with(b"/") && !self.absolute {
            self.absolute = true;
            self.warn(format!(
                "names such as {:?} are absolute; taken as relative [skillmount: names of files]",
                shown()
            ));
        }
        if name.contains(&b'\\') && !self.backslash {
            self.backslash = true;
            self.warn(format!(
                "names such as {:?} have a backslash, which some tools take for a slash \
                 [skillmount: names of files]",
                shown()
            ));
        }
    }

    /// Applies all entries of an archive.
    pub(super) fn untar<R: BufRead>(
        &mut self,
        archive: &mut Archive<R>,
        place: &Place<'_>,
    ) -> Result<(), Problem> {
        while let Some(entry) = archive.next()? {
            let path = locate(place, &entry.name)?;
            self.doubtful(&entry.name);
            let relative_root = match place {
                Place::Below(under) => path == **under,
                Place::Within(_) => path.is_root(),
            };
            if relative_root {
                if entry.kind == Kind::Dir {
                    continue;
                }
                let name = String::from_utf8_lossy(&entry.name).into_owned();
                return Err(Problem::Root { name });
            }
            self.entry(&path, &entry, place, &mut archive.content())?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        path: &TreePath,
        entry: &Entry,
        place: &Place<'_>,
        content: &mut dyn BufRead,
    ) -> Result<(), Problem> {
        self.state.count_entry(path)?;
        self.state.check_depth(path)?;
        if self.whiteouts {
            match whiteout::mark(path)? {
                Mark::None => {}
                Mark::Ignored => return Ok(()),
                Mark::Hides(hidden) => return self.hide(path, hidden),
                Mark::Opaque(dir) => return self.empty(path, &dir),
            }
        } else {
            whiteout::refuse(path)?;
        }
        match entry.kind {
            Kind::Dir => self.dir(path),
            Kind::File => {
                self.state.check_size(path, entry.size)?;
                let mtime = Some(entry.mtime).filter(|mtime| *mtime >= EARLIEST);
                self.file(path, entry.executable, mtime, content)
            }
            Kind::Symlink => self.symlink(path, &entry.target),
            Kind::HardLink => self.hard_link(path, &entry.target, place),
        }
    }

    /// Writes a file that is a layer of its own.
    pub(super) fn single(
        &mut self,
        path: &TreePath,
        executable: bool,
        content: &mut dyn BufRead,
    ) -> Result<(), Problem> {
        if path.is_root() {
            return Err(Problem::NoTitle);
        }
        self.state.count_entry(path)?;
        self.state.check_depth(path)?;
        whiteout::refuse(path)?;
        // Its size is known when it has been read; one byte more than allowed shows that.
        let left = self.state.limits.total_bytes.saturating_sub(self.state.bytes);
        let most = self.state.limits.file_bytes.min(left).saturating_add(1);
        self.file(path, executable, None, &mut content.take(most))
    }

    fn file(
        &mut self,
        path: &TreePath,
        executable: bool,
        mtime: Option<u64>,
        content: &mut dyn BufRead,
    ) -> Result<(), Problem> {
        let unit = self.unit;
        self.parents(path)?;
        let mut counter = Counter { source: content, count: 0 };
        if let Some(Node::File(file)) = self.state.tree.get(path)
            && file.layer == unit
        {
            let first = file.executable;
            let same = self.state.sink.same(path, &mut counter);
            let same = same.map_err(|error| Problem::from_sink(error, path))?;
            self.state.check_size(path, counter.count)?;
            self.state.bytes += counter.count;
            if !same {
                return Err(Problem::Duplicate { path: path.clone() });
            }
            if first != executable {
                self.warn(format!(
                    "{path:?} occurs twice, once executable and once not; the first was taken \
                     [skillmount: unique names]"
                ));
            }
            return Ok(());
        }
        self.replace(path, "file")?;
        let size = self.state.sink.file(path, executable, mtime, &mut counter);
        let size = size.map_err(|error| Problem::from_sink(error, path))?;
        self.state.check_size(path, size)?;
        self.state.bytes += size;
        self.state.insert(path, Node::File(File { size, executable, layer: unit }));
        Ok(())
    }

    fn dir(&mut self, path: &TreePath) -> Result<(), Problem> {
        let unit = self.unit;
        self.parents(path)?;
        if let Some(dir) = dir_mut(&mut self.state.tree, path.components()) {
            dir.layer = unit;
            return Ok(());
        }
        self.replace(path, "directory")?;
        self.state.sink.dir(path).map_err(|error| Problem::from_sink(error, path))?;
        self.state.insert(path, Node::Dir(Dir { layer: unit, ..Dir::default() }));
        Ok(())
    }

    fn symlink(&mut self, path: &TreePath, target: &[u8]) -> Result<(), Problem> {
        let invalid = |reason| Problem::SymlinkTarget { path: path.clone(), reason };
        if target.is_empty() {
            return Err(invalid("is empty"));
        }
        if target.len() > MAX_TARGET {
            return Err(invalid("is longer than 4096 bytes"));
        }
        let target = std::str::from_utf8(target).map_err(|_| invalid("is not UTF-8"))?;
        if target.chars().any(char::is_control) {
            return Err(invalid("has a control character"));
        }
        self.parents(path)?;
        if let Some(Node::Symlink(old)) = self.state.tree.get(path)
            && old.layer == self.unit
        {
            return match old.target == target {
                true => Ok(()),
                false => Err(Problem::Duplicate { path: path.clone() }),
            };
        }
        self.replace(path, "symbolic link")?;
        let link = Symlink { target: target.to_owned(), layer: self.unit };
        self.state.insert(path, Node::Symlink(link));
        Ok(())
    }

    fn hard_link(
        &mut self,
        path: &TreePath,
        target: &[u8],
        place: &Place<'_>,
    ) -> Result<(), Problem> {
        let invalid = |reason| Problem::HardLink {
            path: path.clone(),
            target: String::from_utf8_lossy(target).into_owned(),
            reason,
        };
        // No kernel could make a link to such a name either.
        let file = locate(place, target).map_err(|problem| match problem {
            Problem::Name { .. } => invalid("cannot be a path of the tree"),
            problem => problem,
        })?;
        // A parent may take the place of a file of a lower layer, even of the target.
        self.parents(path)?;
        let (size, executable) = match self.state.tree.get(&file) {
            Some(Node::File(file)) => (file.size, file.executable),
            Some(_) => return Err(invalid("is not a regular file")),
            None => return Err(invalid("is not an earlier file")),
        };
        if file.strip(path).is_some() {
            return Err(invalid("is what the link would replace"));
        }
        self.replace(path, "hard link")?;
        self.state.sink.link(&file, path).map_err(|error| Problem::from_sink(error, path))?;
        self.state.insert(path, Node::File(File { size, executable, layer: self.unit }));
        Ok(())
    }

    /// Makes the directories above `path`, or finds them. None may be a link.
    fn parents(&mut self, path: &TreePath) -> Result<(), Problem> {
        if !self.hidden.is_empty() {
            let mut at = Some(path.clone());
            while let Some(hidden) = at {
                if self.hidden.contains(&hidden) {
                    return Err(both(&hidden));
                }
                at = hidden.parent();
            }
        }
        let Some((_, parents)) = path.components().split_last() else { return Ok(()) };
        for depth in 1..=parents.len() {
            match child(&mut self.state.tree, &parents[..depth]) {
                Some(Node::Dir(dir)) => {
                    dir.layer = self.unit;
                    continue;
                }
                Some(Node::Symlink(_)) => {
                    let link = prefix(path, depth);
                    return Err(Problem::ThroughSymlink { path: path.clone(), link });
                }
                Some(Node::File(_)) | None => {}
            }
            let parent = prefix(path, depth);
            self.replace(&parent, "directory")?;
            self.state.count_entry(&parent)?;
            self.state.sink.dir(&parent).map_err(|error| Problem::from_sink(error, &parent))?;
            self.state.insert(&parent, Node::Dir(Dir { layer: self.unit, ..Dir::default() }));
        }
        self.state.tree.root_mut().layer = self.unit;
        Ok(())
    }

    /// Makes room for something new: what a lower layer put there goes, what this one did stays.
    fn replace(&mut self, path: &TreePath, new: &'static str) -> Result<(), Problem> {
        match self.state.tree.get(path) {
            None => Ok(()),
            Some(node) if layer_of(node) == self.unit => {
                Err(Problem::Conflict { path: path.clone(), old: kind_of(node), new })
            }
            Some(_) => self.state.remove(path),
        }
    }

    /// A whiteout of one path.
    fn hide(&mut self, mark: &TreePath, hidden: TreePath) -> Result<(), Problem> {
        self.follows_no_link(mark)?;
        match self.state.tree.get(&hidden) {
            Some(node) if layer_of(node) == self.unit => return Err(both(&hidden)),
            Some(_) => self.state.remove(&hidden)?,
            None => {}
        }
        self.hidden.insert(hidden);
        Ok(())
    }

    /// An opaque whiteout: a directory loses what lower layers put into it.
    fn empty(&mut self, mark: &TreePath, path: &TreePath) -> Result<(), Problem> {
        fn visit<S: Sink>(
            sink: &mut S,
            at: &TreePath,
            dir: &mut Dir,
            unit: usize,
        ) -> Result<(), Problem> {
            let below = |name: &str| at.join(name).map_err(|source| Problem::Name { source });
            for (name, node) in &mut dir.entries {
                let path = below(name)?;
                if layer_of(node) != unit {
                    sink.remove(&path, node).map_err(|error| Problem::from_sink(error, &path))?;
                } else if let Node::Dir(dir) = node {
                    visit(sink, &path, dir, unit)?;
                }
            }
            dir.entries.retain(|_, node| layer_of(node) == unit);
            Ok(())
        }
        self.follows_no_link(mark)?;
        let State { tree, sink, .. } = &mut *self.state;
        match dir_mut(tree, path.components()) {
            Some(dir) => visit(sink, path, dir, self.unit),
            None => Ok(()),
        }
    }

    fn follows_no_link(&mut self, path: &TreePath) -> Result<(), Problem> {
        for depth in 1..path.depth() {
            if let Some(Node::Symlink(_)) = child(&mut self.state.tree, &path.components()[..depth])
            {
                let link = prefix(path, depth);
                return Err(Problem::ThroughSymlink { path: path.clone(), link });
            }
        }
        Ok(())
    }
}

struct Counter<'a> {
    source: &'a mut dyn BufRead,
    count: u64,
}

impl BufRead for Counter<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.count += count as u64;
        self.source.consume(count);
    }
}

impl Read for Counter<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

fn locate(place: &Place<'_>, name: &[u8]) -> Result<TreePath, Problem> {
    let path = TreePath::parse(name).map_err(|source| Problem::Name { source })?;
    match place {
        Place::Below(under) if under.is_root() => Ok(path),
        Place::Below(under) => Ok(path.below(under)),
        Place::Within(title) if path.is_root() || path.strip(title).is_some() => Ok(path),
        Place::Within(title) => Err(Problem::OutsideTitle { path, title: TreePath::clone(title) }),
    }
}

fn both(path: &TreePath) -> Problem {
    Problem::Whiteout {
        path: path.clone(),
        reason: "stands in the same layer as the path that it hides",
    }
}
