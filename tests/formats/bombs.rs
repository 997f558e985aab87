//! M10: artifacts that are small to send and large to unpack. Each is pulled by the program
//! itself, and what that took is measured: memory by the kernel, disk by looking on.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixtures::{claim, good};
use crate::harness::Lab;
use crate::support::artifacts::{self, LAYER, Layer};
use crate::support::blobs::{Entry, gzip, header, zstd_window};
use crate::support::{Options, Tar};

const MIB: u64 = 1 << 20;
/// How often the disk is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// What the measuring process is told in, and where it answers.
const MEASURE: &str = "SKILLMOUNT_TEST_MEASURE";

/// An artifact, and what its pull may come to.
struct Bomb {
    name: &'static str,
    push: fn(&Lab) -> Vec<String>,
    flags: &'static [&'static str],
    /// The end of the refusal; none where the artifact is good.
    refusal: &'static str,
    /// The most memory, in MiB.
    memory: u64,
    /// The most disk while it was pulled, in MiB.
    disk: u64,
}

const BOMB: Bomb =
    Bomb { name: "", push: |_| Vec::new(), flags: &[], refusal: "", memory: 64, disk: 2 };

/// An image of one layer of these bytes.
fn layer(lab: &Lab, bytes: Vec<u8>) -> Vec<String> {
    let layer = Layer::raw(LAYER, bytes, b"");
    // The config has no diff_ids: nobody would compute them for a bomb.
    let config = artifacts::blob(&lab.registry, artifacts::CONFIG, "{}");
    let document = artifacts::manifest(config, vec![layer.push(&lab.registry)]);
    lab.registry.push_manifest("acme/x", "1", &document);
    vec![lab.at("acme/x")]
}

/// The good skill and one file's header, without its content.
fn announced(size: u64) -> Vec<u8> {
    let entry = Entry { size: Some(size), ..Entry::new("big", b'0', 0o644) };
    let tar = good().no_end_marker().build();
    [tar.as_slice(), &header(&entry, b"ustar\x0000")].concat()
}

/// So many times 64 MiB of zeros, in gzip members: 64 KiB each.
fn zeros(times: usize) -> Vec<u8> {
    static MEMBER: OnceLock<Vec<u8>> = OnceLock::new();
    MEMBER.get_or_init(|| gzip(&vec![0; 64 * MIB as usize])).repeat(times)
}

/// Eight images whose zstd layers fill the largest window that is allowed.
fn windows(lab: &Lab) -> Vec<String> {
    let tar = Tar::new().no_end_marker().file("text", vec![b'x'; 12 * MIB as usize], 0o644).build();
    let image = |number: usize| {
        let name = format!("skill-{number}");
        let text = format!("---\nname: {name}\ndescription: Does it.\n---\n");
        let tar = [Tar::new().no_end_marker().file("SKILL.md", text, 0o644).build(), tar.clone()];
        let layers =
            [Layer::raw(artifacts::LAYER_ZSTD, zstd_window(&tar.concat(), 23), &tar.concat())];
        artifacts::image(&lab.registry, &format!("acme/{name}"), "1", &layers);
        lab.at(&format!("acme/{name}"))
    };
    (0..8).map(image).collect()
}

fn bombs() -> Vec<Bomb> {
    vec![
        Bomb {
            name: "gzip, a file of 10 GiB",
            push: |lab| layer(lab, [gzip(&announced(10 << 30)), zeros(160)].concat()),
            refusal: "a file has more than 104857600 bytes, at \"big\" (--max-file-bytes raises this limit)",
            ..BOMB
        },
        Bomb {
            name: "gzip, a file of 90 MiB of zeros",
            push: |lab| layer(lab, [gzip(&announced(90 * MIB)), zeros(2)].concat()),
            refusal: "the layer decompresses to more than 200 times its size (--max-ratio raises this limit)",
            disk: 92,
            ..BOMB
        },
        Bomb {
            name: "gzip, 10 GiB of padding",
            push: |lab| layer(lab, [gzip(&good().build()), zeros(160)].concat()),
            refusal: "the layer decompresses to more than 200 times its size (--max-ratio raises this limit)",
            ..BOMB
        },
        Bomb {
            name: "gzip, 10 GiB of padding and no ratio",
            push: |lab| layer(lab, [gzip(&good().build()), zeros(160)].concat()),
            flags: &["--max-ratio", "100000", "--max-unpacked-bytes", "33554432"],
            refusal: "the artifact decompresses to more than 110903296 bytes (--max-unpacked-bytes raises this limit)",
            ..BOMB
        },
        Bomb {
            name: "files of 40 MiB with a limit of 64 MiB",
            push: |lab| {
                let text = vec![b'x'; 40 * MIB as usize];
                let tar = good().file("a", &text, 0o644).file("b", &text, 0o644);
                layer(lab, tar.build())
            },
            flags: &["--max-unpacked-bytes", "67108864"],
            refusal: "the artifact's files have more than 67108864 bytes, at \"b\" (--max-unpacked-bytes raises this limit)",
            disk: 66,
            ..BOMB
        },
        Bomb {
            name: "zstd, a window of 2 GiB",
            push: |lab| layer(lab, zstd_window(&good().build(), 31)),
            refusal: "its zstd data need a window of more than 2^23 bytes (--max-zstd-window-log raises this limit)",
            ..BOMB
        },
        Bomb {
            name: "zstd, 10 GiB in runs",
            push: |lab| layer(lab, runs(&announced(100 * MIB), 10 << 30)),
            refusal: "the layer decompresses to more than 200 times its size (--max-ratio raises this limit)",
            disk: 102,
            ..BOMB
        },
        Bomb {
            name: "zstd, eight pulls with the largest window",
            push: windows,
            // 8 windows of 8 MiB, and what each pull holds besides.
            memory: 160,
            // And the directories, and what the store keeps.
            disk: 8 * 12 + 8,
            ..BOMB
        },
        Bomb {
            name: "10^6 tiny files",
            push: |lab| {
                let file = |tar: Tar, number| tar.file(&format!("{number}"), "", 0o644);
                let tar = (0..10_000).fold(good().no_end_marker(), file).build();
                layer(lab, gzip(&tar).repeat(100))
            },
            refusal: "the artifact has more than 10000 files, directories and links, at \"9999\" (--max-entries raises this limit)",
            // A block for each file.
            disk: 48,
            ..BOMB
        },
        Bomb {
            name: "2 000 directories with long names",
            push: |lab| {
                let dir = |tar: Tar, number| tar.dir(&format!("{number:05}{}", "d".repeat(250)));
                layer(lab, gzip(&(0..2_000).fold(good(), dir).build()))
            },
            disk: 64,
            ..BOMB
        },
        Bomb {
            name: "a path of 10^5 directories",
            push: |lab| layer(lab, gzip(&good().file(&"d/".repeat(100_000), "", 0o644).build())),
            refusal: "a tar entry's name cannot be used: path of 200000 bytes is longer than 4096",
            ..BOMB
        },
        Bomb {
            name: "directories 2 000 deep",
            push: |lab| layer(lab, gzip(&good().file(&"d/".repeat(2000), "", 0o644).build())),
            refusal: "(--max-depth raises this limit)",
            ..BOMB
        },
        Bomb {
            name: "a PAX record of 4 MiB",
            push: |lab| {
                let text = vec![b'x'; 4 * MIB as usize];
                layer(lab, good().pax(&[("comment", &text)]).file("a", "", 0o644).build())
            },
            refusal: "its tar archive is invalid at byte 1024: metadata exceeds limit: 4194321 bytes > 1048576 bytes",
            ..BOMB
        },
        Bomb {
            name: "a GNU name of 4 MiB",
            push: |lab| {
                let name = "n".repeat(4 * MIB as usize);
                layer(lab, good().gnu_long_name(&name).file("a", "", 0o644).build())
            },
            refusal: "its tar archive is invalid at byte 1024: metadata exceeds limit: 4194305 bytes > 1048576 bytes",
            ..BOMB
        },
        Bomb {
            name: "a sparse file of 10 GiB",
            push: |lab| layer(lab, good().sparse("hole", 10 << 30).build()),
            refusal: "\"hole\" is a sparse file; only files, directories and links are unpacked",
            ..BOMB
        },
        Bomb {
            name: "a file that says 2^62 bytes",
            push: |lab| layer(lab, announced(1 << 62)),
            refusal: "a file has more than 104857600 bytes, at \"big\" (--max-file-bytes raises this limit)",
            ..BOMB
        },
        Bomb {
            name: "a layer that says 1 TiB",
            push: |lab| changed(lab, |document| claim(&mut document["layers"][0], 1 << 40)),
            refusal: "(--max-unpacked-bytes raises this limit)",
            ..BOMB
        },
        Bomb {
            name: "65 layers",
            push: |lab| {
                changed(lab, |document| {
                    let layer = document["layers"][0].clone();
                    document["layers"] = vec![layer; 65].into();
                })
            },
            refusal: "the artifact has 65 layers, more than 64 (raise --max-layers to allow it)",
            ..BOMB
        },
    ]
}

fn changed(lab: &Lab, change: impl Fn(&mut Value)) -> Vec<String> {
    vec![crate::fixtures::changed(lab, change)]
}

/// A zstd frame of these bytes and then `length` zeros, in blocks of one byte that is to be
/// repeated 128 Ki times (RFC 8878, section 3.1.1.2): 4 bytes each.
fn runs(start: &[u8], length: u64) -> Vec<u8> {
    let mut frame = zstd_window(start, 17);
    // The first block is not the last one any more.
    frame[6] &= !1;
    let header = (1u32 << 1) | (128 << 10 << 3);
    let block = [&header.to_le_bytes()[..3], &[0]].concat();
    frame.extend(block.repeat(usize::try_from(length >> 17).unwrap()));
    frame.extend([3, 0, 0, 0]);
    frame
}

/// What a pull came to.
struct Measured {
    refusal: String,
    /// In MiB.
    memory: u64,
    disk: u64,
}

/// Pulls into a directory of its own. The program is started by a small process: a child's
/// `ru_maxrss` begins with what its parent had.
fn pull(references: &[String], flags: &[&str]) -> Measured {
    let scratch = tempfile::tempdir().unwrap();
    let (work, answer) = (scratch.path().join("work"), scratch.path().join("answer"));
    fs::create_dir(&work).unwrap();
    let output = work.join("output").to_str().unwrap().to_owned();
    let mut arguments = vec!["pull".to_owned(), "--output".to_owned(), output];
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    arguments.extend(references.iter().cloned());
    let task = json!({"arguments": arguments, "answer": answer.to_str().unwrap()});
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "bombs::m10_measuring_process"])
        .env(MEASURE, task.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut disk = 0;
    let status = loop {
        let started = Instant::now();
        disk = disk.max(blocks(&work));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        // Looking at ten thousand files must not take what the program needs.
        std::thread::park_timeout(LOOK + started.elapsed().min(10 * LOOK));
    };
    assert!(status.success());
    let answer: Value = serde_json::from_slice(&fs::read(&answer).unwrap()).unwrap();
    let refusal = answer["stderr"].as_str().unwrap().trim().to_owned();
    let expected: &[&str] = if refusal.is_empty() { &["output"] } else { &[] };
    let left: Vec<PathBuf> = entries(&work).collect();
    let names: Vec<_> = left.iter().map(|path| path.file_name().unwrap()).collect();
    assert_eq!(names, expected, "left behind");
    let memory = answer["maxrss"].as_u64().unwrap().div_ceil(1024);
    Measured { refusal, memory, disk: disk.div_ceil(MIB) }
}

fn entries(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The bytes on disk below a directory that changes meanwhile. A file that is renamed while this
/// looks may be met twice; it is the same inode.
fn blocks(path: &Path) -> u64 {
    let mut found = HashMap::new();
    files(path, &mut found);
    found.values().sum()
}

fn files(path: &Path, found: &mut HashMap<u64, u64>) {
    for path in entries(path) {
        match path.symlink_metadata() {
            Ok(data) if data.is_dir() => files(&path, found),
            Ok(data) => _ = found.insert(data.ino(), data.blocks() * 512),
            Err(_) => {}
        }
    }
}

/// No test of its own: runs the program and tells of it, see [`pull`].
#[test]
fn m10_measuring_process() {
    let Ok(task) = std::env::var(MEASURE) else { return };
    let task: Value = serde_json::from_str(&task).unwrap();
    let arguments = task["arguments"].as_array().unwrap().iter().map(|a| a.as_str().unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_skillmount")).args(arguments).output().unwrap();
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN);
    let answer = json!({
        "stderr": String::from_utf8(output.stderr).unwrap(),
        "maxrss": usage.unwrap().max_rss(),
    });
    fs::write(task["answer"].as_str().unwrap(), answer.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn m10_bombs_cost_no_more_than_the_flags_say() {
    let mut wrong = Vec::new();
    for bomb in bombs() {
        let lab = Lab::new("amd64", |_| Options::default(), false);
        let references = (bomb.push)(&lab);
        let measured = tokio::task::spawn_blocking(move || pull(&references, bomb.flags));
        let Measured { refusal, memory, disk } = measured.await.unwrap();
        println!("M10 {}: {memory} MiB of memory, {disk} MiB of disk", bomb.name);
        let as_told = match bomb.refusal {
            "" => refusal.is_empty(),
            expected => refusal.ends_with(expected),
        };
        if !as_told || memory > bomb.memory || disk > bomb.disk {
            wrong.push(format!("{}: {memory} MiB, {disk} MiB, {refusal}", bomb.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
