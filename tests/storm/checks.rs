//! What must hold of a volume, and of all, judged by the kernel and the disk alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use skillmount::mount::{KernelMounter, Mount, Mounter};
use skillmount::store::{Record, RecordState, Seal, peek_records};

use crate::Checked;
use crate::model::{Ask, Shown, Slot, State};
use crate::storm::World;
use crate::support::tree;

/// What is mounted below a directory.
pub(crate) fn mounts(root: &Path) -> Vec<Mount> {
    let all = KernelMounter::detect().mounts().unwrap();
    let is_below = |mount: &Mount| mount.mount_point != root && mount.mount_point.starts_with(root);
    all.into_iter().filter(is_below).collect()
}

/// All records by their volume. At any moment each is understood.
pub(crate) fn records(world: &World) -> Checked<BTreeMap<String, Record>> {
    let read = peek_records(&world.root.join("state"));
    let (records, odd) = read.map_err(|error| format!("cannot read the records: {error}"))?;
    if !odd.is_empty() {
        return Err(format!("records that cannot be read: {odd:?}"));
    }
    Ok(records.into_iter().map(|record| (record.volume_id.clone(), record)).collect())
}

/// The volume is published, and shows nothing but what it may.
pub(crate) fn published(world: &World, ask: &Ask) -> Checked<Shown> {
    let shown = mounted(world, ask)?;
    let record = records(world)?.remove(ask.id()).ok_or("it is published without a record")?;
    if record.state != RecordState::Published || record.mount.is_none() {
        return Err(format!("it is published, and its record says {:?}", record.state));
    }
    let digests = ask.parts.iter().zip(&shown.versions).map(|(part, version)| {
        &world.catalogue.repositories[part.repository].versions[*version].digest
    });
    if !record.references.iter().map(|found| &found.digest).eq(digests) {
        return Err(format!(
            "it shows {:?}, the record says {:?}",
            shown.versions, record.references
        ));
    }
    if (record.seal == Seal::Bind) != ask.is_bind
        || (shown.mount.fs_type == "overlay") == ask.is_bind
    {
        return Err(format!("sealed as {:?}: {:?}", record.seal, shown.mount));
    }
    for key in &record.trees {
        let tree = world.root.join("state/trees").join(key);
        if !tree.is_dir() {
            return Err(format!("it shows a tree that is gone: {}", tree.display()));
        }
    }
    Ok(shown)
}

/// Exactly one mount is at the target, read-only, with exactly the files that it may have.
pub(crate) fn mounted(world: &World, ask: &Ask) -> Checked<Shown> {
    let target = &ask.volume.target;
    let mut at = mounts(&world.root).into_iter().filter(|mount| mount.mount_point == *target);
    let mount = at.next().ok_or_else(|| format!("nothing is mounted at {}", target.display()))?;
    if let Some(second) = at.next() {
        return Err(format!("mounted twice: {mount:?} {second:?}"));
    }
    if !mount.options.split(',').any(|option| option == "ro") {
        return Err(format!("it is writable: {mount:?}"));
    }
    let contents = tree::contents(target);
    let bytes: usize = contents.values().map(Vec::len).sum();
    world.counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    let mut versions = vec![];
    for part in &ask.parts {
        let prefix = ask.prefix(&world.catalogue, part);
        let found: BTreeMap<&str, &[u8]> = contents
            .iter()
            .filter_map(|(path, bytes)| Some((path.strip_prefix(&prefix)?, bytes.as_slice())))
            .collect();
        let repository = &world.catalogue.repositories[part.repository];
        let is_shown = |version: &usize| {
            let files = &repository.versions[*version].skill.files;
            let wanted = files.iter().map(|(path, file)| (path.as_str(), file.content.as_slice()));
            found.iter().map(|(path, bytes)| (*path, *bytes)).eq(wanted)
        };
        let version = (0..repository.versions.len()).find(is_shown).ok_or_else(|| {
            let sizes: Vec<_> =
                found.iter().map(|(path, b)| format!("{path} {}", b.len())).collect();
            format!("WRONG BYTES: no version of {} is {sizes:?}", repository.name)
        })?;
        let allowed = ask.allowed(&world.catalogue, part);
        if !allowed.contains(&version) {
            let name = repository.name;
            return Err(format!("WRONG BYTES: {name} has version {version}, of {allowed:?}"));
        }
        versions.push(version);
    }
    let listing = tree::listing(target);
    let wanted = ask.listing(&world.catalogue, &versions);
    if listing != wanted {
        return Err(format!("WRONG FILES: {listing:?}, not {wanted:?}"));
    }
    Ok(Shown { mount, versions })
}

/// Nothing of the volume is left.
pub(crate) fn gone(world: &World, ask: &Ask) -> Checked {
    let target = &ask.volume.target;
    if let Some(mount) = mounts(&world.root).iter().find(|mount| mount.mount_point == *target) {
        return Err(format!("LEAK: still mounted: {mount:?}"));
    }
    if target.symlink_metadata().is_ok() {
        return Err(format!("LEAK: {} is still there", target.display()));
    }
    match records(world)?.remove(ask.id()) {
        Some(record) => Err(format!("LEAK: a record is still there: {record:?}")),
        None => Ok(()),
    }
}

/// What is published is as it was; whatever else there is belongs to a call without an answer.
pub(crate) fn all(world: &World, slots: &[Slot], is_recovered: bool) -> Checked {
    let records = records(world)?;
    let mounts = mounts(&world.root);
    let mut targets: Vec<&PathBuf> = vec![];
    let mut known = 0;
    for slot in slots {
        let judged = one(world, slot, records.get(slot.ask().map_or("", Ask::id)), is_recovered);
        judged.map_err(|text| format!("{}: {text}", slot.number))?;
        if let Some(ask) = slot.ask() {
            targets.push(&ask.volume.target);
            known += usize::from(records.contains_key(ask.id()));
        }
    }
    if let Some(mount) = mounts.iter().find(|mount| !targets.contains(&&mount.mount_point)) {
        return Err(format!("LEAK: nobody has asked for {mount:?}"));
    }
    if records.len() != known {
        let ids: Vec<_> = records.keys().collect();
        return Err(format!("LEAK: records of volumes that are gone are among {ids:?}"));
    }
    Ok(())
}

fn one(world: &World, slot: &Slot, record: Option<&Record>, is_recovered: bool) -> Checked {
    let ask = match &slot.state {
        State::Idle => return Ok(()),
        State::Published(ask, before) => {
            let now = published(world, ask).map_err(|text| format!("LOST: {text}"))?;
            return match now == *before {
                true => Ok(()),
                false => Err(format!("LOST: it was {before:?}, and is {now:?}")),
            };
        }
        State::Publishing(ask) | State::Unpublishing(ask) => ask,
    };
    let count = mounts(&world.root).iter().filter(|m| m.mount_point == ask.volume.target).count();
    let state = record.map(|record| record.state);
    if !is_recovered {
        let is_there = ask.volume.target.exists();
        let left = match (count, state, is_there) {
            (0, None, false) => "nothing",
            (0, None, true) => "a target",
            (0, Some(RecordState::Publishing), _) => "a record that says publishing",
            (0, Some(RecordState::Published), false) => "a record that says published",
            (0, Some(RecordState::Published), true) => "a record that says published, a target",
            (_, Some(RecordState::Publishing), _) => "a mount, a record that says publishing",
            (_, Some(RecordState::Published), _) => "a mount, a record that says published",
            (_, None, _) => "a mount",
        };
        *world.left.lock().unwrap().entry(left).or_default() += 1;
    }
    match (count, state) {
        (0, None) => Ok(()),
        // An unpublish had unmounted it; kubelet calls again.
        (0, Some(RecordState::Published)) if matches!(slot.state, State::Unpublishing(_)) => Ok(()),
        (0 | 1, Some(RecordState::Publishing)) if !is_recovered => Ok(()),
        (1, Some(RecordState::Published)) if ask.is_allowed => published(world, ask).map(drop),
        _ => Err(format!("{count} mounts, and the record says {state:?}")),
    }
}
