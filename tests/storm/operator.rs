//! What a person runs on the node meanwhile.

use std::sync::atomic::Ordering;

use tokio::process::Command;

use crate::Checked;
use crate::storm::World;
use crate::support::Random;

struct Ran {
    code: Option<i32>,
    stdout: String,
    words: String,
}

async fn skillmount(world: &World, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_skillmount"))
        .env_clear()
        .args(arguments)
        .arg(format!("--state-dir={}", world.root.join("state").display()))
        .output()
        .await
        .unwrap();
    let code = output.status.code();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let words = format!("skillmount {}: {code:?} {stdout} {stderr}", arguments.join(" "));
    Ran { code, stdout, words }
}

async fn succeeds(world: &World, arguments: &[&str]) -> Checked<String> {
    let ran = skillmount(world, arguments).await;
    match ran.code {
        Some(0) => Ok(ran.stdout),
        _ => Err(ran.words),
    }
}

/// Beside a driver that is running, and may be killed meanwhile.
pub(crate) async fn beside_a_driver(world: &World, random: &mut Random) -> Checked {
    match random.below(12) {
        0 => succeeds(world, &["volumes", "--output=json"]).await.map(drop),
        1 => verify(world).await.map(drop),
        2 => {
            // It is refused, unless the driver is dead by now.
            let ran = skillmount(world, &["prune"]).await;
            match ran.code {
                Some(1) if ran.words.contains("is locked") => Ok(()),
                Some(0) if world.is_dead() => pruned(world, &ran.stdout),
                _ => Err(ran.words),
            }
        }
        _ => Ok(()),
    }
}

/// With the driver dead.
pub(crate) async fn between_drivers(world: &World, random: &mut Random) -> Checked {
    match random.below(12) {
        0 => succeeds(world, &["volumes"]).await.map(drop),
        1 => verify(world).await.map(drop),
        2 => succeeds(world, &["prune", "--dry-run"]).await.map(drop),
        3 => prune(world).await,
        _ => Ok(()),
    }
}

pub(crate) async fn prune(world: &World) -> Checked {
    let stdout = succeeds(world, &["prune"]).await?;
    pruned(world, &stdout)
}

fn pruned(world: &World, stdout: &str) -> Checked {
    let count = stdout.strip_prefix("trees removed: ").and_then(|rest| rest.split(',').next());
    let count: u64 = count.and_then(|count| count.parse().ok()).ok_or("what did prune say?")?;
    world.counts.pruned.fetch_add(count, Ordering::Relaxed);
    Ok(())
}

/// No stored tree is damaged, at any moment. What was told.
pub(crate) async fn verify(world: &World) -> Checked<String> {
    let told = succeeds(world, &["verify"]).await?;
    world.counts.verified.fetch_add(1, Ordering::Relaxed);
    match told.contains(", damaged: 0, ") {
        true => Ok(told),
        false => Err(told),
    }
}
