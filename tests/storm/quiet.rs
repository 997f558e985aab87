//! When every call is answered: what there is, is what was asked for, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Checked;
use crate::caller;
use crate::checks;
use crate::model::{Slot, State};
use crate::node::Node;
use crate::operator;
use crate::storm::World;
use crate::support::tree::names;

/// How long the driver may take to remove what it does not need, and to flush what it does.
const PATIENCE: Duration = Duration::from_secs(30);

/// With a driver that runs and no call unanswered.
pub(crate) async fn check(world: &World, slots: &mut [Slot], node: &Node) -> Checked {
    checks::all(world, slots, true)?;
    let published: BTreeSet<_> = slots
        .iter()
        .filter_map(|slot| match &slot.state {
            State::Published(ask, _) => Some(ask.id().to_owned()),
            _ => None,
        })
        .collect();
    let recorded: BTreeSet<_> = checks::records(world)?.into_keys().collect();
    if recorded != published {
        return Err(format!("published are {published:?}, recorded {recorded:?}"));
    }
    let pods: BTreeSet<_> = names(&world.root.join("pods")).into_iter().collect();
    if pods != published || checks::mounts(&world.root).len() != published.len() {
        return Err(format!("LEAK: published are {published:?}, of pods there are {pods:?}"));
    }
    // Nobody asks the registry for what is published.
    let before = world.catalogue.registry.lines();
    for slot in slots.iter_mut() {
        caller::stays(world, slot, &node.client).await?;
    }
    let after = world.catalogue.registry.lines();
    if let Some(line) = after.get(before.len()) {
        return Err(format!("pulled again, though published: {line}"));
    }
    let start = Instant::now();
    while let Err(text) = state_is_whole(&world.root.join("state")) {
        if start.elapsed() > PATIENCE {
            return Err(format!("LEAK: {text}"));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // What has come to the disk has a list of what its files are.
    let told = operator::verify(world).await?;
    if told.ends_with(", not known: 0\n") { Ok(()) } else { Err(told) }
}

/// With no driver, no volume and nothing stored.
pub(crate) fn check_end(world: &World) -> Checked {
    let state = world.root.join("state");
    state_is_whole(&state)?;
    let left = |directory: &str| names(&state.join(directory));
    for directory in ["trees", "volumes"] {
        if !left(directory).is_empty() {
            return Err(format!("LEAK: {directory} has {:?}", left(directory)));
        }
    }
    let pods = names(&world.root.join("pods"));
    if !checks::mounts(&world.root).is_empty() || !pods.is_empty() {
        return Err(format!("LEAK: {:?} {pods:?}", checks::mounts(&world.root)));
    }
    // What a reference resolved to and who has read it stays for a month: of each no more than one
    // file. Of trees nothing stays.
    let repositories = &world.catalogue.repositories;
    let versions: usize = repositories.iter().map(|repository| repository.versions.len()).sum();
    for (directory, most) in [
        ("manifests", 2 * versions),
        ("references", 2 * versions + repositories.len()),
        // Configs are kept beside manifests, and are read with a right of their own.
        ("grants", 2 * versions),
    ] {
        let found = left(directory);
        if found.len() > most {
            return Err(format!("LEAK: {directory}: {}, at most {most}", found.len()));
        }
    }
    Ok(())
}

/// The state directory holds nothing half-made, and nothing that could not be read.
fn state_is_whole(state: &Path) -> Checked {
    for directory in ["staging", "quarantine", "empty"] {
        let found = names(&state.join(directory));
        if !found.is_empty() {
            return Err(format!("{directory} has {found:?}"));
        }
    }
    for directory in names(state).into_iter().filter(|name| state.join(name).is_dir()) {
        if let Some(name) = names(&state.join(&directory)).iter().find(|name| name.starts_with('.'))
        {
            return Err(format!("{directory} has {name}"));
        }
    }
    let trees = state.join("trees");
    for name in names(&trees) {
        let key = &name[..64.min(name.len())];
        let description = fs::read_to_string(trees.join(format!("{key}.json")));
        let is_flushed = description.is_ok_and(|text| text.contains(r#""durable":true"#));
        let is_known = ["", ".json", ".sha256"].contains(&&name[key.len()..]);
        if !is_flushed || !is_known || !trees.join(key).is_dir() {
            return Err(format!("half a tree: {name}"));
        }
    }
    Ok(())
}
