//! A machine with one disk: its state directory and its pods' targets are on it. Power goes and comes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::MsFlags;

use crate::disk::Disk;
use crate::mounts;
use crate::platter::Fate;
use crate::support::Random;

/// How a file system is made and mounted: its type, size in MiB, arguments of mkfs, and options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileSystem {
    pub(crate) kind: &'static str,
    mib: u64,
    make: &'static [&'static str],
    options: &'static str,
}

/// Journals in the order of the data and not, that write out every second or hardly by themselves,
/// with and without the heuristics that flush a file for a program that forgot to
/// (`auto_da_alloc`).
pub(crate) const FILE_SYSTEMS: &[FileSystem] = &[
    ext4("data=ordered,commit=5"),
    ext4("data=writeback,commit=1,noauto_da_alloc"),
    ext4("data=writeback,commit=300,noauto_da_alloc"),
    ext4("data=ordered,commit=1,noauto_da_alloc,nodelalloc"),
    FileSystem { kind: "xfs", mib: 304, make: &["-q", "-f"], options: "" },
];

const fn ext4(options: &'static str) -> FileSystem {
    FileSystem { kind: "ext4", mib: 96, make: &["-q", "-F"], options }
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

pub(crate) struct Machine {
    disk: Disk,
    file_system: FileSystem,
    /// Where the disk is mounted.
    pub(crate) root: PathBuf,
    boot_id: PathBuf,
}

/// Why a machine cannot be had here.
pub(crate) type Missing = String;

/// Runs a program.
fn run(program: &str, arguments: &[&str]) -> Result<(), Missing> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

impl Machine {
    /// A machine without power. `scratch` must be a tmpfs of this namespace.
    pub(crate) fn new(
        scratch: &Path,
        name: &str,
        file_system: FileSystem,
    ) -> Result<Self, Missing> {
        let path = |what: &str| scratch.join(format!("{name}-{what}"));
        let FileSystem { kind, mib, make, .. } = file_system;
        let image = path("image");
        let made = fs::File::create(&image).and_then(|file| file.set_len(mib << 20));
        made.map_err(|error| format!("{}: {error}", image.display()))?;
        run(&format!("mkfs.{kind}"), &[make, &[image.to_str().unwrap()]].concat())?;
        let content = fs::read(&image).unwrap();
        fs::remove_file(image).unwrap();
        let [bus, root] = ["bus", "root"].map(path);
        for directory in [&bus, &root] {
            fs::create_dir(directory).unwrap();
        }
        let disk = Disk::start(&bus, content).map_err(|error| format!("FUSE: {error}"))?;
        // So is it for the driver: what it reads there is the test's.
        let boot_id = path("boot-id");
        fs::write(&boot_id, "").unwrap();
        let (none, flags) = (None::<&str>, MsFlags::MS_BIND);
        nix::mount::mount(Some(&boot_id), BOOT_ID, none, flags, none)
            .map_err(|error| format!("{BOOT_ID}: {error}"))?;
        Ok(Self { disk, file_system, root, boot_id })
    }

    /// Power comes: another boot. The file system reads its journal.
    pub(crate) fn boot(&self, random: &mut Random) -> Result<(), Missing> {
        let [a, b] = [random.next(), random.next()];
        fs::write(&self.boot_id, format!("{a:016x}-{b:016x}\n")).unwrap();
        let FileSystem { kind, options, .. } = self.file_system;
        let options = format!("loop,{options}");
        let [disk, root] = [&self.disk.path, &self.root].map(|path| path.to_str().unwrap());
        run("mount", &["-t", kind, "-o", options.trim_end_matches(','), disk, root])
    }

    /// Has the power go before one of the next requests to the disk.
    pub(crate) fn arm(&self, random: Random, within: u64) {
        self.disk.platter().arm(random, within);
    }

    /// Has the power go now, if it is not gone.
    pub(crate) fn cut(&self, random: Random) {
        self.disk.platter().cut(random);
    }

    /// Whether the power is gone. What runs has not noticed.
    pub(crate) fn is_cut(&self) -> bool {
        self.disk.platter().is_cut()
    }

    /// All mounts go, with what the kernel holds in memory of them. No process may run any more.
    pub(crate) fn halt(&self) -> (Option<Fate>, usize, u64) {
        for mount in mounts(&self.root).into_iter().rev() {
            nix::mount::umount(&mount.mount_point).unwrap();
        }
        // Whoever has just been killed may hold it for a moment more.
        while let Err(errno) = nix::mount::umount(&self.root) {
            assert_eq!(errno, nix::Error::EBUSY);
            std::thread::yield_now();
        }
        while self.is_attached() {
            std::thread::yield_now();
        }
        self.disk.platter().power_on()
    }

    /// Whether a loop device still uses the disk: it goes by itself, in its own time.
    fn is_attached(&self) -> bool {
        let entries = fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().path());
        let backing = |path: PathBuf| match fs::read_to_string(path.join("loop/backing_file")) {
            Ok(file) => Path::new(file.trim_end()) == self.disk.path,
            Err(error) => {
                assert_ne!(error.kind(), io::ErrorKind::PermissionDenied);
                false
            }
        };
        entries.into_iter().any(backing)
    }

    /// How many errors the file system has found in itself; a sound disk gives none.
    pub(crate) fn errors(&self) -> u64 {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let root = self.root.to_str().unwrap();
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(root)).unwrap();
        let device = line.split(' ').next().unwrap().trim_start_matches("/dev/");
        let path = format!("/sys/fs/{}/{device}/errors_count", self.file_system.kind);
        // XFS counts none.
        fs::read_to_string(path).map_or(0, |text| text.trim().parse().unwrap())
    }
}
