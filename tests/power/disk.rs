//! A disk whose cache is the test's: a file of a FUSE file system that this process serves, below a
//! loop device. What the file system above flushes arrives here as fsync, so that it is known of every
//! write whether it may be lost. Device mapper could do the same; many machines have none.
//!
//! The protocol is that of linux/fuse.h, as far as one file needs it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use nix::errno::Errno;
use nix::mount::MsFlags;

use crate::platter::Platter;

const ROOT: u64 = 1;
const DISK: u64 = 2;
const NAME: &str = "disk";

/// The most that one request writes.
const MAX_WRITE: u32 = 1 << 20;
/// A request's header and the longest arguments beside what is written.
const MAX_HEADERS: usize = 4096;
/// What is told of names and attributes stays so for ever, in seconds.
const FOR_EVER: u64 = 1 << 32;

/// The disk; it is there as long as this process is.
pub(crate) struct Disk {
    platter: Arc<Mutex<Platter>>,
    pub(crate) path: PathBuf,
}

impl Disk {
    /// A disk as the file `disk` in `directory`.
    pub(crate) fn start(directory: &Path, content: Vec<u8>) -> io::Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let (name, kind) = (Some("power"), Some("fuse"));
        nix::mount::mount(name, directory, kind, MsFlags::empty(), Some(options.as_str()))?;
        // The kernel unmounts what is left when the last process of this namespace ends. That must
        // not be this one, which would wait for an answer of its own, for ever: the disk is gone
        // only when all of this process is.
        let last = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        std::mem::forget(last);
        let platter = Arc::new(Mutex::new(Platter::new(content)));
        let server = Server { device, platter: platter.clone() };
        std::thread::spawn(move || server.run());
        Ok(Self { platter, path: directory.join(NAME) })
    }

    pub(crate) fn platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap()
    }
}

struct Server {
    device: File,
    platter: Arc<Mutex<Platter>>,
}

/// What a request is answered with.
enum Answer {
    Bytes(Vec<u8>),
    Error(Errno),
    /// Nobody waits for one.
    None,
}

impl Server {
    fn run(mut self) {
        let mut buffer = vec![0; MAX_WRITE as usize + MAX_HEADERS];
        loop {
            let len = match self.device.read(&mut buffer) {
                Ok(len) => len,
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    // Taken back, or interrupted.
                    Some(Errno::ENOENT | Errno::EINTR) => continue,
                    // Unmounted.
                    Some(Errno::ENODEV) => return,
                    _ => panic!("/dev/fuse: {error}"),
                },
            };
            let request = &buffer[..len];
            let (error, body) = match self.answer(request) {
                Answer::Bytes(body) => (0, body),
                Answer::Error(errno) => (-(errno as i32), vec![]),
                Answer::None => continue,
            };
            let mut answer = Vec::with_capacity(16 + body.len());
            answer.extend((16 + body.len() as u32).to_ne_bytes());
            answer.extend(error.to_ne_bytes());
            answer.extend(&request[8..16]);
            answer.extend(body);
            match self.device.write(&answer) {
                Err(error) if error.raw_os_error() != Some(Errno::ENOENT as i32) => {
                    panic!("/dev/fuse: {error}")
                }
                // Whoever asked has gone.
                _ => {}
            }
        }
    }

    fn answer(&self, request: &[u8]) -> Answer {
        let (node, body) = (u64_at(request, 16), &request[40..]);
        let size = self.platter.lock().unwrap().len() as u64;
        match u32_at(request, 4) {
            // LOOKUP
            1 if node == ROOT && body == [NAME.as_bytes(), b"\0"].concat() => {
                let mut entry = [DISK, 0, FOR_EVER, FOR_EVER, 0].map(u64::to_ne_bytes).concat();
                entry.extend(attributes(DISK, size));
                Answer::Bytes(entry)
            }
            1 => Answer::Error(Errno::ENOENT),
            // FORGET, INTERRUPT, BATCH_FORGET
            2 | 36 | 42 => Answer::None,
            // GETATTR, SETATTR
            3 | 4 => {
                let mut answer = [FOR_EVER, 0].map(u64::to_ne_bytes).concat();
                answer.extend(attributes(node, size));
                Answer::Bytes(answer)
            }
            // OPEN: with no cache in between (FOPEN_DIRECT_IO).
            14 => Answer::Bytes([0, 1].map(u64::to_ne_bytes).concat()),
            // OPENDIR
            27 => Answer::Bytes(vec![0; 16]),
            // READ
            15 => {
                let (at, len) = (u64_at(body, 8) as usize, u32_at(body, 16) as usize);
                Answer::Bytes(self.platter.lock().unwrap().read(at, len).to_vec())
            }
            // WRITE
            16 => {
                let (at, len) = (u64_at(body, 8) as usize, u32_at(body, 16));
                let data = &body[40..40 + len as usize];
                match self.platter.lock().unwrap().write(at, data) {
                    true => Answer::Bytes([len, 0].map(u32::to_ne_bytes).concat()),
                    false => Answer::Error(Errno::ENOSPC),
                }
            }
            // FSYNC
            20 => {
                self.platter.lock().unwrap().flush();
                Answer::Bytes(vec![])
            }
            // STATFS
            17 => Answer::Bytes(vec![0; 80]),
            // RELEASE, FLUSH, RELEASEDIR, ACCESS, DESTROY
            18 | 25 | 29 | 34 | 38 => Answer::Bytes(vec![]),
            // INIT: version 7.31, ASYNC_READ, BIG_WRITES and MAX_PAGES.
            26 => {
                let flags: u32 = 1 | 1 << 5 | 1 << 22;
                let mut answer = [7, 31, 1 << 17, flags].map(u32::to_ne_bytes).concat();
                answer.extend([16_u16, 12].map(u16::to_ne_bytes).concat());
                answer.extend([MAX_WRITE, 1].map(u32::to_ne_bytes).concat());
                answer.extend([(MAX_WRITE / 4096) as u16, 0].map(u16::to_ne_bytes).concat());
                answer.resize(64, 0);
                Answer::Bytes(answer)
            }
            _ => Answer::Error(Errno::ENOSYS),
        }
    }
}

/// `struct fuse_attr`.
fn attributes(node: u64, size: u64) -> Vec<u8> {
    let (mode, size) = if node == DISK { (0o100_600, size) } else { (0o40_700, 0) };
    let mut bytes = [node, size, size / 512, 0, 0, 0].map(u64::to_ne_bytes).concat();
    // Nanoseconds of three times, mode, links, owner, group, device, block size, flags.
    bytes.extend([0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_ne_bytes).concat());
    bytes
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}
