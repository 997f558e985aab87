//! What kubelet does: one call after the other for each volume, each again until it is answered
//! with OK.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tonic::{Code, Status};

use crate::Checked;
use crate::checks;
use crate::model::{Ask, Slot, State};
use crate::storm::World;
use crate::support::driver::Client;

/// A call that takes as long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a caller goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Until the driver is killed.
    Killed,
    /// Until nothing is unanswered.
    Answered,
    /// Until there is no volume.
    Gone,
}

/// Calls the driver for a slot. What must hold and does not ends it.
pub(crate) async fn work(world: &World, slot: &mut Slot, client: &Client, until: Until) -> Checked {
    loop {
        let is_dead = world.is_dead();
        let is_done = match (until, &slot.state) {
            (Until::Answered, State::Idle | State::Published(..)) | (Until::Gone, State::Idle) => {
                true
            }
            _ => is_dead,
        };
        if is_done {
            return Ok(());
        }
        match std::mem::replace(&mut slot.state, State::Idle) {
            State::Idle => {
                let ask = slot.next(&world.catalogue, &world.root);
                slot.state = State::Publishing(ask);
            }
            State::Publishing(ask) => publish(world, slot, client, ask).await?,
            State::Published(ask, shown)
                if until == Until::Killed && !slot.random.percent(slot.haste) =>
            {
                let again = slot.random.percent(30);
                slot.state = State::Published(ask, shown);
                match again {
                    true => stays(world, slot, client).await?,
                    false => {
                        tokio::time::sleep(Duration::from_micros(slot.random.below(2000))).await
                    }
                }
            }
            State::Published(ask, shown) => {
                // The last look at it.
                let now = checks::published(world, &ask)?;
                if now != shown {
                    return Err(format!("it was {shown:?}, and is {now:?}"));
                }
                slot.note("to go");
                slot.state = State::Unpublishing(ask);
            }
            State::Unpublishing(ask) => unpublish(world, slot, client, ask).await?,
        }
    }
}

async fn publish(world: &World, slot: &mut Slot, client: &Client, ask: Ask) -> Checked {
    world.counts.publish_calls.fetch_add(1, Ordering::Relaxed);
    let outcome = answer(world, client.publish(&ask.volume)).await;
    slot.note(format!("publish: {outcome:?}"));
    match outcome {
        Outcome::Ok if !ask.is_allowed => {
            slot.state = State::Publishing(ask);
            Err("published without the right login".into())
        }
        Outcome::Ok => {
            let shown = checks::published(world, &ask);
            world.counts.published.fetch_add(1, Ordering::Relaxed);
            let error = shown.as_ref().err().cloned();
            slot.state = match shown {
                Ok(shown) => State::Published(ask, shown),
                Err(_) => State::Publishing(ask),
            };
            world.answered();
            error.map_or(Ok(()), Err)
        }
        // Final: kubelet forgets the volume.
        Outcome::Refused(Code::Unauthenticated | Code::PermissionDenied | Code::NotFound, _)
            if !ask.is_allowed =>
        {
            world.counts.refused.fetch_add(1, Ordering::Relaxed);
            world.answered();
            let left = checks::gone(world, &ask);
            std::fs::remove_dir(ask.volume.target.parent().unwrap()).map_err(|e| e.to_string())?;
            left
        }
        Outcome::Refused(code, message) => {
            slot.state = State::Publishing(ask);
            Err(format!("publish failed: {code:?}: {message}"))
        }
        Outcome::Unanswered => {
            world.counts.unanswered.fetch_add(1, Ordering::Relaxed);
            // Sometimes the pod is gone when the driver is back.
            slot.state = match !ask.is_allowed || slot.random.percent(30) {
                true => State::Unpublishing(ask),
                false => State::Publishing(ask),
            };
            Ok(())
        }
    }
}

async fn unpublish(world: &World, slot: &mut Slot, client: &Client, ask: Ask) -> Checked {
    world.counts.unpublish_calls.fetch_add(1, Ordering::Relaxed);
    let outcome = answer(world, client.unpublish(&ask.volume)).await;
    slot.note(format!("unpublish: {outcome:?}"));
    match outcome {
        Outcome::Ok => {
            world.counts.unpublished.fetch_add(1, Ordering::Relaxed);
            world.answered();
            let left = checks::gone(world, &ask);
            // As kubelet does; it fails if anything is left.
            let removed = std::fs::remove_dir(ask.volume.target.parent().unwrap());
            left.and(removed.map_err(|error| format!("the pod's directory: {error}")))
        }
        Outcome::Refused(code, message) => {
            slot.state = State::Unpublishing(ask);
            Err(format!("unpublish failed: {code:?}: {message}"))
        }
        Outcome::Unanswered => {
            world.counts.unanswered.fetch_add(1, Ordering::Relaxed);
            slot.state = State::Unpublishing(ask);
            Ok(())
        }
    }
}

/// A published volume is published again, as after a restart of kubelet, and nothing changes.
pub(crate) async fn stays(world: &World, slot: &mut Slot, client: &Client) -> Checked {
    let State::Published(ask, before) = &slot.state else { return Ok(()) };
    match answer(world, client.publish(&ask.volume)).await {
        Outcome::Ok => {
            let now = checks::published(world, ask)?;
            match now == *before {
                true => Ok(()),
                false => Err(format!("published again: it was {before:?}, and is {now:?}")),
            }
        }
        Outcome::Unanswered => Ok(()),
        Outcome::Refused(code, message) => Err(format!("published again: {code:?}: {message}")),
    }
}

#[derive(Debug)]
enum Outcome {
    Ok,
    Refused(Code, String),
    /// The driver was killed first.
    Unanswered,
}

async fn answer(world: &World, call: impl Future<Output = Result<(), Status>>) -> Outcome {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(())) => Outcome::Ok,
        Ok(Err(_)) if world.is_dead() => Outcome::Unanswered,
        Ok(Err(status)) => Outcome::Refused(status.code(), status.message().into()),
        Err(_) => Outcome::Refused(Code::DeadlineExceeded, "no answer within a minute".into()),
    }
}
