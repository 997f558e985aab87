//! The second level of protection, alone: a disk sink that is told to leave its directory.

use std::os::unix::fs::symlink;

use super::support::*;
use crate::artifact::contents::Contents;
use crate::artifact::tree::{Dir, File, Node};
use crate::unpack::Sink;

#[test]
fn a_planted_link_is_not_followed() {
    let bench = Bench::new();
    let staging = bench.staging();
    symlink(bench.directory.path(), staging.join("up")).unwrap();
    symlink("../outside", staging.join("file")).unwrap();
    std::fs::create_dir(staging.join("dir")).unwrap();
    symlink("../..", staging.join("dir/up")).unwrap();
    let mut sink = bench.sink();
    for through in ["up", "dir/up"] {
        let inside = |name: &str| path(&format!("{through}/{name}"));
        sink.dir(&inside("new")).unwrap_err();
        sink.file(&inside("new"), false, None, &mut &b"x"[..]).unwrap_err();
        sink.file(&inside("outside"), false, None, &mut &b"x"[..]).unwrap_err();
        sink.same(&inside("outside"), &mut &b"outside"[..]).unwrap_err();
        sink.link(&inside("outside"), &path("stolen")).unwrap_err();
        sink.read(&inside("outside"), 10).unwrap_err();
        let file = Node::File(File { size: 7, executable: false, layer: 0 });
        sink.remove(&inside("outside"), &file).unwrap_err();
        let mut dir = Dir::default();
        dir.entries.insert("outside".into(), file);
        sink.remove(&path(through), &Node::Dir(dir)).unwrap_err();
    }
    sink.file(&path("file"), true, Some(MTIME), &mut &b"x"[..]).unwrap_err();
    sink.dir(&path("file")).unwrap_err();
    sink.same(&path("file"), &mut &b"outside"[..]).unwrap_err();
    sink.read(&path("file"), 10).unwrap_err();
    sink.link(&path("file"), &path("stolen")).unwrap_err();
    sink.file(&path("real"), false, None, &mut &b"x"[..]).unwrap();
    sink.link(&path("real"), &path("up/real")).unwrap_err();
    sink.link(&path("real"), &path("file")).unwrap_err();
    sink.file(&path("real"), false, None, &mut &b"y"[..]).unwrap_err();
    bench.assert_untouched();
    assert_eq!(sink.read(&path("real"), 10).unwrap(), b"x");
}

#[test]
fn a_directory_that_is_replaced_while_it_is_known_leads_nowhere() {
    let bench = Bench::new();
    let mut sink = bench.sink();
    sink.dir(&path("d")).unwrap();
    sink.file(&path("d/one"), false, None, &mut &b"1"[..]).unwrap();
    std::fs::rename(bench.staging().join("d"), bench.staging().join("moved")).unwrap();
    symlink("..", bench.staging().join("d")).unwrap();
    // The sink holds the directory itself, not its name.
    sink.file(&path("d/two"), false, None, &mut &b"2"[..]).unwrap();
    sink.dir(&path("other")).unwrap();
    sink.file(&path("d/three"), false, None, &mut &b"3"[..]).unwrap_err();
    bench.assert_untouched();
    assert!(bench.staging().join("moved/two").exists());
}

#[test]
fn fifos_do_not_block() {
    let bench = Bench::new();
    let fifo = bench.staging().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut sink = bench.sink();
    sink.read(&path("fifo"), 10).unwrap_err();
    sink.same(&path("fifo"), &mut &b""[..]).unwrap_err();
    sink.link(&path("fifo"), &path("again")).unwrap_err();
}
