//! Archives that nobody wrote: whatever happens, it happens inside.

use proptest::prelude::*;

use super::support::*;
use crate::artifact::plan::Action;
use crate::unpack::{DiskSink, Limits, MemorySink};

fn small() -> Limits {
    Limits { entries: 50, file_bytes: 4096, total_bytes: 8192, depth: 6, ..Limits::default() }
}

fn name() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        Just("a"),
        Just("b"),
        Just(".."),
        Just("."),
        Just(".wh.a"),
        Just(".wh..wh..opq"),
        Just(""),
    ];
    proptest::collection::vec(component, 1..4).prop_map(|parts| parts.join("/"))
}

fn archive() -> impl Strategy<Value = Vec<u8>> {
    let entry = (name(), name(), 0usize..6, "[xy]{0,3}");
    proptest::collection::vec(entry, 0..8).prop_map(|entries| {
        let tar =
            entries.into_iter().fold(Tar::new(), |tar, (name, target, kind, content)| match kind {
                0 | 1 => tar.file(&name, &content),
                2 => tar.dir(&name),
                3 => tar.symlink(&name, &target),
                4 => tar.link(&name, &target),
                _ => tar.pax("path", name.as_bytes()).file("x", &content),
            });
        tar.end()
    })
}

fn run(layers: &Layers) {
    let bench = Bench::new();
    let sink = DiskSink::new(open(&bench.staging()));
    let on_disk = unpack_into(sink, &small(), layers);
    bench.assert_untouched();
    let in_memory = unpack_into(MemorySink::new(&small()), &small(), layers);
    match (on_disk, in_memory) {
        (Ok(disk), Ok(memory)) => {
            assert_eq!(disk.tree, memory.tree);
            // What the tree says is what is there: no more, no less, no links.
            let (mut made, _) = tree_listing(&disk.tree);
            made.sort();
            let mut there: Vec<String> = listing(&bench.staging())
                .iter()
                .map(|line| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" "))
                .collect();
            there.sort();
            assert_eq!(made.into_iter().map(|(line, _)| line).collect::<Vec<_>>(), there);
        }
        (Err(disk), Err(memory)) => assert_eq!(chain(&disk), chain(&memory)),
        (disk, memory) => panic!("{disk:?} {memory:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_entries(layers in proptest::collection::vec(archive(), 1..4), image: bool) {
        let action = if image { Action::ImageLayer } else { tar_layer() };
        run(&layers.into_iter().map(|bytes| (action.clone(), bytes)).collect());
    }

    #[test]
    fn any_damage(bytes in archive(), flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut: prop::sample::Index, kind in 0usize..6) {
        let mut bytes = bytes;
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
            // A checksum that is right lets the damage reach further.
            let block = at / 512 * 512;
            if bytes[block..].len() >= 512 && bytes[block + 257..].starts_with(b"ustar") {
                bytes[block + 148..block + 156].fill(b' ');
                let sum: u32 = bytes[block..block + 512].iter().copied().map(u32::from).sum();
                bytes[block + 148..block + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let action = match kind {
            0 => Action::ImageLayer,
            1 => Action::Directory { title: path("a"), content: None },
            2 => Action::TitledArchive { title: path("t") },
            3 => Action::Unknown,
            4 => Action::File { title: path("t") },
            _ => tar_layer(),
        };
        let bytes = if cut.index(2) == 0 { gzip(&bytes) } else { bytes };
        run(&vec![(action, bytes)]);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        for action in [Action::ImageLayer, Action::Unknown, Action::TitledArchive { title: path("t") }] {
            run(&vec![(action, bytes.clone())]);
        }
    }
}
