//! What all parts of a run share: the options, the registry, directories, a runtime.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use tokio::runtime::Runtime;

use crate::machine;
use crate::options::Options;
use crate::registry::{Kind, Registry};
use crate::skills::{Compressed, Size, sizes};
use crate::tools::Tools;

pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) runtime: Runtime,
    pub(crate) registry: Registry,
    pub(crate) tools: Tools,
    pub(crate) artifacts: Vec<Artifact>,
    work: tempfile::TempDir,
    /// Whether nothing is removed before the end.
    keeps: bool,
    next: Cell<u32>,
    asked: Cell<usize>,
}

/// A skill in the registry.
#[derive(Debug, Clone)]
pub(crate) struct Artifact {
    pub(crate) size: Size,
    pub(crate) compressed: Compressed,
    pub(crate) repository: String,
    /// Of the layer.
    pub(crate) digest: String,
    pub(crate) layer_bytes: usize,
}

/// The repository of images that differ in their bytes only; tags count from 1.
pub(crate) const VARIANTS: &str = "bench/small-variants";
/// Eight large ones.
pub(crate) const LARGE_VARIANTS: &str = "bench/large-variants";

/// The repository of small skills that no driver has. Its last name is that of the directory in them.
pub(crate) fn fresh(kind: Kind) -> &'static str {
    match kind {
        Kind::Image => "bench/images/small",
        Kind::Artifact => "bench/artifacts/small",
    }
}

impl Bench {
    pub(crate) fn new(options: Options) -> Self {
        let runtime = Runtime::new().unwrap();
        std::fs::create_dir_all(&options.work).unwrap();
        let work = tempfile::tempdir_in(&options.work).unwrap();
        let registry = runtime.block_on(Registry::start(work.path()));
        let tools = Tools::find();
        let artifacts = Vec::new();
        let keeps = machine::journal(work.path()) == Some(false);
        Self {
            options,
            runtime,
            registry,
            tools,
            artifacts,
            work,
            keeps,
            next: Cell::new(0),
            asked: Cell::new(0),
        }
    }

    /// Makes the skills and pushes them.
    pub(crate) fn push(&mut self) {
        let (mut artifacts, registry) = (Vec::new(), &self.registry);
        for (number, size) in sizes(self.options.quick).into_iter().enumerate() {
            let tar = size.tar();
            for (compressed, name) in [(Compressed::Gzip, "gzip"), (Compressed::Zstd, "zstd")] {
                let layer = size.layer(&tar, compressed);
                let repository = format!("bench/{name}/{}", size.name);
                let digest = self.runtime.block_on(async {
                    if compressed == Compressed::Gzip {
                        registry.oras(&repository, "oras", &layer).await;
                        match number {
                            0 => {
                                let crowd = self.options.crowd();
                                registry.variants(VARIANTS, Kind::Image, &layer, crowd).await;
                                for kind in [Kind::Image, Kind::Artifact] {
                                    let count = self.options.fresh();
                                    registry.variants(fresh(kind), kind, &layer, count).await;
                                }
                            }
                            2 => registry.variants(LARGE_VARIANTS, Kind::Image, &layer, 8).await,
                            _ => {}
                        }
                    }
                    registry.image(&repository, "image", &layer).await
                });
                let layer_bytes = layer.bytes.len();
                artifacts.push(Artifact { size, compressed, repository, digest, layer_bytes });
            }
        }
        self.artifacts = artifacts;
    }

    pub(crate) fn artifact(&self, name: &str, compressed: Compressed) -> &Artifact {
        let mut all = self.artifacts.iter();
        all.find(|a| a.size.name == name && a.compressed == compressed).unwrap()
    }

    /// The tag of a small skill, in the repositories of [`fresh`], that no driver has.
    pub(crate) fn unpublished(&self) -> String {
        self.asked.set(self.asked.get() + 1);
        assert!(self.asked.get() <= self.options.fresh(), "there are no more");
        self.asked.get().to_string()
    }

    /// Where everything lies.
    pub(crate) fn root(&self) -> &Path {
        self.work.path()
    }

    pub(crate) fn number(&self) -> u32 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    /// A new, empty directory on the file system that is measured.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.root().join(format!("{name}-{}", self.number()));
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// Removes a directory that is not needed any more, at the latest when the run ends: ext4 without
    /// a journal keeps off the inodes that were freed in the last minutes, and looks for others one
    /// by one, so that whoever comes after a removal of thousands of files would be measured with it.
    pub(crate) fn discard(&self, directory: &Path) {
        if !self.keeps {
            std::fs::remove_dir_all(directory).unwrap();
        }
    }

    /// Brings to the disk what was written so far, so that nobody is measured while the disk is
    /// busy with what another wrote.
    pub(crate) fn settle(&self) {
        let directory = std::fs::File::open(self.root()).unwrap();
        rustix::fs::syncfs(&directory).unwrap();
    }

    pub(crate) fn stop(self) {
        self.runtime.block_on(self.registry.stop());
    }
}
