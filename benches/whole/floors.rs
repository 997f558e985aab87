//! What nobody can be faster than: the same bytes with nothing verified, and the kernel's calls.

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use skillmount::mount::{KernelMounter, MountOptions, Mounter};

use crate::bench::{Artifact, Bench, fresh};
use crate::contest::{Contestant, Round};
use crate::peers::untar;
use crate::registry::{Access, Kind, Login};
use crate::skills::Compressed;
use crate::tools::pipe;

/// `curl | gzip -dc | tar x` of the layer.
pub(crate) fn piped<'a>(
    bench: &'a Bench,
    access: &'a Access,
    artifact: &'a Artifact,
) -> Option<Contestant<'a>> {
    let inflate = match artifact.compressed {
        Compressed::Gzip => "gzip",
        Compressed::Zstd => "zstd",
    };
    let name = format!("floor: curl, {inflate} -dc, tar x");
    bench.tools.have(&["curl", inflate, "tar"]).then(|| {
        Contestant::new(name, move || {
            let directory = bench.directory("floor");
            bench.settle();
            let mut curl = bench.tools.command("curl");
            curl.args(["--silent", "--show-error", "--fail", "--location"]);
            if let Some(login) = &access.login {
                curl.arg("--cacert").arg(&login.ca).args(["--user", &Login::user()]);
            }
            curl.arg(access.url(&artifact.repository, &format!("blobs/{}", artifact.digest)));
            let mut decompress = bench.tools.command(inflate);
            decompress.arg("-dc");
            let outcome = pipe(&mut [curl, decompress, untar(bench, &directory)]);
            bench.discard(&directory);
            outcome
        })
    })
}

/// The manifest and the layer over a connection that is there: no process, nothing written.
pub(crate) fn kept_connection<'a>(bench: &'a Bench, access: &'a Access) -> Contestant<'a> {
    let client = access.client();
    let repository = fresh(Kind::Artifact);
    Contestant::new("floor: manifest and blob, kept connection", move || {
        let tag = bench.unpublished();
        bench.settle();
        bench.runtime.block_on(async {
            // This makes the connection too.
            access.all_of(&client, repository, &tag).await?;
            let start = Instant::now();
            access.manifest_and_layer(&client, repository, &tag).await?;
            Ok(start.elapsed())
        })
    })
}

/// What a call takes before anybody does anything for it: one thread wakes another, and is woken.
pub(crate) fn wakes<'a>() -> Contestant<'a> {
    let (mut here, mut there) = UnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let mut byte = [0];
        while there.read_exact(&mut byte).is_ok() && there.write_all(&byte).is_ok() {}
    });
    Contestant::new("floor: a byte to another thread and back, over a unix socket", move || {
        timed(|| {
            here.write_all(&[0])?;
            here.read_exact(&mut [0])
        })
    })
}

/// The calls that a publish and an unpublish of one skill need the kernel for, made by nobody: an
/// overlay at a new directory, and one small file that tells of it. And those for mounts alone.
pub(crate) fn kernel(bench: &Bench, directory: PathBuf) -> Vec<Contestant<'_>> {
    let floor = Rc::new(Kernel {
        mounter: KernelMounter::detect(),
        lowers: [directory, bench.directory("empty")],
        target: bench.directory("target"),
        new: bench.directory("pod").join("mount"),
        files: bench.directory("records"),
    });
    [
        ("a publish", Kernel::publish as fn(&Kernel) -> Round),
        ("an unpublish", Kernel::unpublish),
        ("mounting an overlay", Kernel::overlay),
        ("a bind mount", Kernel::bind),
        ("unmounting", Kernel::unmount),
    ]
    .map(|(name, round)| {
        let floor = floor.clone();
        Contestant::new(format!("floor: the kernel's calls for {name}"), move || round(&floor))
    })
    .into()
}

struct Kernel {
    mounter: KernelMounter,
    lowers: [PathBuf; 2],
    /// Is there.
    target: PathBuf,
    /// Is made and removed.
    new: PathBuf,
    files: PathBuf,
}

impl Kernel {
    fn seal(&self, target: &Path) -> Round {
        timed(|| self.mounter.seal(&self.lowers, target, MountOptions::default()))
    }

    fn release(&self, target: &Path) -> Round {
        timed(|| self.mounter.unmount(target))
    }

    fn begin(&self) -> Round {
        let (begun, file) = (self.files.join("begun"), self.files.join("record"));
        timed(|| {
            fs::create_dir(&self.new)?;
            fs::write(&begun, [b' '; 600])?;
            fs::rename(&begun, &file)?;
            let sealed = self.mounter.seal(&self.lowers, &self.new, MountOptions::default());
            sealed.map_err(io::Error::other)?;
            OpenOptions::new().append(true).open(&file)?.write_all(&[b' '; 100])
        })
    }

    fn end(&self) -> Round {
        timed(|| {
            self.mounter.unmount(&self.new).map_err(io::Error::other)?;
            fs::remove_dir(&self.new)?;
            fs::remove_file(self.files.join("record"))
        })
    }

    fn publish(&self) -> Round {
        let took = self.begin()?;
        self.end()?;
        Ok(took)
    }

    fn unpublish(&self) -> Round {
        self.begin()?;
        self.end()
    }

    fn overlay(&self) -> Round {
        let took = self.seal(&self.target)?;
        self.release(&self.target)?;
        Ok(took)
    }

    fn bind(&self) -> Round {
        let took =
            timed(|| self.mounter.bind(&self.lowers[0], &self.target, MountOptions::default()))?;
        self.release(&self.target)?;
        Ok(took)
    }

    fn unmount(&self) -> Round {
        self.seal(&self.target)?;
        self.release(&self.target)
    }
}

fn timed<T, E: Display>(step: impl FnOnce() -> Result<T, E>) -> Round {
    let start = Instant::now();
    step().map_err(|error| error.to_string())?;
    Ok(start.elapsed())
}
