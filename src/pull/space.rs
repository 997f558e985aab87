//! Space in staging: what pulls will write there at least is reserved before the first byte of a
//! layer is asked for, so that they do not fill the disk together and all fail.
//!
//! What is reserved is what a manifest says of its layers: a claim, but no layer may bring more
//! than its claim. What comes out of it when it is decompressed is not known, so the disk can still
//! become full; then that is what the pull meets. Small claims are not reserved: skills are mostly
//! texts, and turns bound how many there are.
//!
//! Whoever has to wait, waits as for a turn (see [`turns`](super::turns)): the tenant that holds the
//! least is the next, among equals the pull that came first; a quarter is kept for tenants that hold
//! nothing. Nobody passes the next one, so a large claim is not kept waiting by smaller ones; and
//! once nothing is reserved it goes, however large it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::progress::HumanBytes;
use super::turns::Tenant;
use super::{PullError, blocking};
use crate::artifact::plan::Layer;
use crate::observability::metrics::Metrics;
use crate::store::Store;

/// Claims up to this many bytes are not reserved. To download as much takes so much longer than to
/// ask the disk that nobody notices the latter.
const SMALL: u64 = 4 << 20;

/// The disk has less space than the layers of an artifact claim to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the state directory's disk has no room for it: its layers have {}, and {} are free, of which \
     other pulls have reserved {}",
    HumanBytes(*needs), HumanBytes(*free), HumanBytes(*reserved)
)]
pub struct NoSpace {
    /// What the layers have, in bytes.
    pub needs: u64,
    /// What is free, in bytes.
    pub free: u64,
    /// What pulls have reserved that run now, in bytes.
    pub reserved: u64,
}

/// What a manifest says of the space that its layers need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// The sum of the sizes that it gives: the disk must have as much.
    least: u64,
    /// With the most for layers without a size: that is how it counts beside others. Who leaves
    /// sizes out gains nothing, but is not refused for what nobody has claimed.
    most: u64,
}

impl Claim {
    /// That of an artifact that may have `limit` bytes at most.
    pub(super) fn of(layers: &[Layer], limit: u64) -> Self {
        let mut sizes = layers.iter().map(|layer| &layer.descriptor);
        let least = sizes.clone().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
        let least = least.min(limit);
        // Empty files are layers too.
        let is_open = sizes.any(|layer| layer.size == 0 && !layer.digest.matches(&[]));
        Self { least, most: if is_open { limit } else { least } }
    }

    fn is_small(self) -> bool {
        self.most <= SMALL
    }

    fn and(self, other: Self) -> Self {
        Self {
            least: self.least.saturating_add(other.least),
            most: self.most.saturating_add(other.most),
        }
    }
}

/// Who has reserved how much, and who waits. Numbers are in the order of coming.
#[derive(Debug)]
struct Ledger {
    cap: u64,
    next: u64,
    places: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    tenant: Tenant,
    claim: Claim,
    holds: bool,
}

impl Ledger {
    fn new(cap: Option<u64>) -> Self {
        Self { cap: cap.unwrap_or(u64::MAX), next: 0, places: BTreeMap::new() }
    }

    fn enter(&mut self, tenant: Tenant, claim: Claim) -> u64 {
        let number = self.next;
        self.next += 1;
        self.places.insert(number, Entry { tenant, claim, holds: false });
        number
    }

    fn leave(&mut self, number: u64) {
        self.places.remove(&number);
    }

    fn holders(&self) -> impl Iterator<Item = &Entry> {
        self.places.values().filter(|entry| entry.holds)
    }

    fn held(&self) -> Claim {
        self.holders().fold(Claim::default(), |sum, entry| sum.and(entry.claim))
    }

    /// The next of those that wait.
    fn first(&self) -> Option<u64> {
        let mut held: HashMap<&Tenant, Claim> = HashMap::new();
        for Entry { tenant, claim, .. } in self.holders() {
            let sum = held.entry(tenant).or_default();
            *sum = sum.and(*claim);
        }
        let waiting = self.places.iter().filter(|(_, entry)| !entry.holds);
        let rank = |(number, entry): (&u64, &Entry)| {
            (held.get(&entry.tenant).map_or(0, |held| held.most), *number)
        };
        waiting.map(rank).min().map(|(_, number)| number)
    }

    /// Reserves what the one of that number wants, if it is the next and so much is left, with
    /// `free` bytes of the disk. To wait is of no use to who needs more than that: pulls that run
    /// do not leave more.
    fn take(&mut self, number: u64, free: u64) -> Result<bool, NoSpace> {
        let Some(Entry { tenant, claim, holds: false }) = self.places.get(&number) else {
            return Ok(true);
        };
        let held = self.held();
        if claim.least > free {
            return Err(NoSpace { needs: claim.least, free, reserved: held.least });
        }
        let is_alone = self.holders().next().is_none();
        let holds_none = self.holders().all(|entry| entry.tenant != *tenant);
        let share = |whole: u64| if holds_none { whole } else { whole - whole / 4 };
        let all = held.and(*claim);
        // What the pulls that run have written already is counted twice. That only delays.
        let fits = all.most <= share(self.cap) && all.least <= share(free);
        let goes = self.first() == Some(number) && (is_alone || fits);
        if let Some(entry) = self.places.get_mut(&number).filter(|_| goes) {
            entry.holds = true;
        }
        Ok(goes)
    }
}

/// The space of one node.
#[derive(Debug, Clone)]
pub(super) struct Space(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    ledger: Mutex<Ledger>,
    /// Somebody else may be the next, or there is more left.
    changed: watch::Sender<()>,
    metrics: Metrics,
}

/// What a pull has reserved, until this is dropped; nothing for a small claim.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    _place: Option<Place>,
}

/// A pull's place among those that have reserved something, or wait.
#[derive(Debug)]
struct Place {
    space: Space,
    number: u64,
}

impl Space {
    /// The space that the store's disk has, and `cap` bytes of it for all pulls at most.
    pub(super) fn new(store: Arc<Store>, cap: Option<u64>, metrics: Metrics) -> Self {
        let (ledger, changed) = (Mutex::new(Ledger::new(cap)), watch::Sender::new(()));
        Self(Arc::new(Shared { store, ledger, changed, metrics }))
    }

    /// Reserves what is claimed, as soon as it is there. Tells `waits` if that is not at once.
    pub(super) async fn reserve(
        &self,
        tenant: &Tenant,
        claim: Claim,
        waits: impl Fn(),
    ) -> Result<Reserved, PullError> {
        if claim.is_small() {
            return Ok(Reserved::default());
        }
        let place = self.enter(tenant, claim);
        let mut changes = self.0.changed.subscribe();
        // Also behind others it is told at once that there is too little.
        let mut is_new = true;
        loop {
            changes.mark_unchanged();
            if is_new || self.ledger().first() == Some(place.number) {
                is_new = false;
                if place.take(self.free(claim).await?)? {
                    return Ok(Reserved { _place: Some(place) });
                }
            }
            waits();
            // The sender is there as long as this.
            changes.changed().await.ok();
        }
    }

    /// Reserves what is claimed; nothing if that is not possible at once.
    pub(super) async fn reserve_now(
        &self,
        tenant: &Tenant,
        claim: Claim,
    ) -> Result<Option<Reserved>, PullError> {
        if claim.is_small() {
            return Ok(Some(Reserved::default()));
        }
        let place = self.enter(tenant, claim);
        let taken = place.take(self.free(claim).await?)?;
        Ok(taken.then_some(Reserved { _place: Some(place) }))
    }

    fn enter(&self, tenant: &Tenant, claim: Claim) -> Place {
        Place { space: self.clone(), number: self.ledger().enter(tenant.clone(), claim) }
    }

    /// How many bytes are free. A disk that does not say so has enough, until it says otherwise.
    async fn free(&self, claim: Claim) -> Result<u64, PullError> {
        if claim.least <= SMALL {
            return Ok(u64::MAX);
        }
        let store = self.0.store.clone();
        let disk = blocking(move || store.disk()).await?;
        Ok(disk.map_or(u64::MAX, |disk| disk.free_bytes))
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Nothing in there panics half-way.
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After `ledger` has changed.
    fn tell(&self, ledger: MutexGuard<'_, Ledger>) {
        self.0.metrics.reserved(ledger.held().most);
        drop(ledger);
        self.0.changed.send_replace(());
    }
}

impl Place {
    fn take(&self, free: u64) -> Result<bool, NoSpace> {
        let mut ledger = self.space.ledger();
        let taken = ledger.take(self.number, free)?;
        if taken {
            self.space.tell(ledger);
        }
        Ok(taken)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut ledger = self.space.ledger();
        ledger.leave(self.number);
        self.space.tell(ledger);
    }
}

#[cfg(test)]
mod tests;
