//! The system calls that no safe wrapper has.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::mount::MountAttrFlags;

/// `struct mount_attr` of linux/mount.h, as of Linux 5.12 (`MOUNT_ATTR_SIZE_VER0`). Written out
/// here because older releases of the libc crate lack it.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// `MOUNT_ATTR_SIZE_VER0`.
const MOUNT_ATTR_SIZE: usize = 32;
const _: () = assert!(size_of::<MountAttr>() == MOUNT_ATTR_SIZE);

/// Adds flags to the one mount whose root `mount` is; clears none. Linux 5.12.
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, flags: MountAttrFlags) -> io::Result<()> {
    let attr = MountAttr { attr_set: u64::from(flags.bits()), ..MountAttr::default() };
    // SAFETY: the path is a NUL-terminated literal, and the kernel reads MOUNT_ATTR_SIZE bytes of
    // `attr`, which is exactly as large and outlives the call. It keeps neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            MOUNT_ATTR_SIZE,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether mount_setattr is there: with a size of 0 every kernel that has it answers EINVAL.
pub(crate) fn has_mount_setattr() -> bool {
    let nothing = std::ptr::null::<MountAttr>();
    // SAFETY: with a size of 0 the kernel refuses before it reads through the null pointer.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            -1,
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            nothing,
            0_usize,
        )
    };
    result == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL)
}

/// Gives the calling thread a working directory of its own. For a thread that ends soon: the
/// others do not notice.
pub(crate) fn unshare_working_directory() -> io::Result<()> {
    // SAFETY: only CLONE_FILES is dangerous here, as descriptors would mean different files in
    // different threads; CLONE_FS separates the working directory, root and umask alone.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS) }?;
    Ok(())
}
