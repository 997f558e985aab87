//! Turns: how many pulls ask registries at once, and whose is the next.
//!
//! A registry that sends slowly keeps a turn for long, and whoever names registries can have many
//! such pulls. So turns are shared out by *tenants*, which are namespaces: a free turn goes to the
//! waiting tenant that holds the fewest; among equals to the one that was served longest ago; and
//! within a tenant to the pull that came first. One turn in four, at least one where there are
//! several, is kept for tenants that hold none: so a tenant can take what nobody else wants, but
//! whoever comes next does not wait until it gives something back.
//!
//! A pull is its first caller's. Others may join it while it waits: then it goes as soon as it
//! would for any of them, and counts for the one by whom it went.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How many pulls of one tenant may wait for their turn. A node has some hundred pods, and a
/// volume at most 20 references; what has not been asked for again for hours waits here too.
const MAX_WAITING: usize = 1000;

/// For whom a pull is: the namespace of a pod; empty outside of Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tenant(Arc<str>);

impl From<&str> for Tenant {
    fn from(namespace: &str) -> Self {
        Self(namespace.into())
    }
}

/// Too many pulls of the tenant wait: so many.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crowded(pub(super) usize);

/// Who holds turns and who waits for one. A pull has a number that the caller chose.
#[derive(Debug)]
struct Queue<W> {
    free: usize,
    /// So many are for tenants that hold none.
    kept: usize,
    /// Only those that hold a turn or wait for one.
    tenants: HashMap<Tenant, Share>,
    pulls: HashMap<u64, Pull<W>>,
    /// How many turns have been given.
    given: u64,
}

/// What one tenant has.
#[derive(Debug)]
struct Share {
    held: usize,
    /// In the order in which they came. Some may have gone.
    waiting: VecDeque<u64>,
    /// What [`Queue::given`] was when it was served last, or came.
    served: u64,
}

#[derive(Debug)]
struct Pull<W> {
    /// The first is who began it. No tenant twice.
    tenants: Vec<Tenant>,
    state: State<W>,
}

#[derive(Debug)]
enum State<W> {
    /// It has not asked for a turn.
    Idle,
    /// It is woken by this.
    Waits(W),
    /// It has one, which counts for this tenant.
    Holds(Tenant),
}

impl<W> Queue<W> {
    fn new(turns: usize) -> Self {
        let free = turns.max(1);
        let kept = (free / 4).max(1).min(free - 1);
        Self { free, kept, tenants: HashMap::new(), pulls: HashMap::new(), given: 0 }
    }

    /// A pull begins that may want a turn.
    fn enter(&mut self, number: u64, tenant: Tenant) {
        self.pulls.insert(number, Pull { tenants: vec![tenant], state: State::Idle });
    }

    /// Another tenant wants it too. Nothing, if it has ended.
    fn join(&mut self, number: u64, tenant: Tenant) {
        let Some(pull) = self.pulls.get_mut(&number) else { return };
        if pull.tenants.contains(&tenant) {
            return;
        }
        pull.tenants.push(tenant.clone());
        if matches!(pull.state, State::Waits(_)) {
            self.share(tenant).waiting.push_back(number);
        }
    }

    /// It asks for its turn.
    fn wait(&mut self, number: u64, wake: W) -> Result<(), Crowded> {
        let Some(pull) = self.pulls.get(&number) else { return Ok(()) };
        let tenants = pull.tenants.clone();
        let share = tenants.first().and_then(|tenant| self.tenants.get(tenant));
        if share.is_some_and(|share| share.waiting.len() >= MAX_WAITING) {
            // Some may have gone by another tenant's turn.
            let waits = |number: &&u64| self.waits(**number);
            let waiting = share.map_or(0, |share| share.waiting.iter().filter(waits).count());
            if waiting >= MAX_WAITING {
                return Err(Crowded(waiting));
            }
        }
        let Some(pull) = self.pulls.get_mut(&number) else { return Ok(()) };
        pull.state = State::Waits(wake);
        for tenant in tenants {
            self.share(tenant).waiting.push_back(number);
        }
        Ok(())
    }

    /// It has ended, whatever it was at.
    fn leave(&mut self, number: u64) {
        let Some(pull) = self.pulls.remove(&number) else { return };
        if let State::Holds(tenant) = pull.state {
            self.free += 1;
            self.share(tenant).held -= 1;
        }
        for tenant in &pull.tenants {
            self.tidy(tenant);
        }
    }

    /// Gives a free turn to the pull that is next, if there is one that may have it.
    fn next(&mut self) -> Option<W> {
        if self.free == 0 {
            return None;
        }
        let spare = self.free > self.kept;
        let first = |share: &Share| share.waiting.iter().copied().find(|pull| self.waits(*pull));
        let next = self.tenants.iter().filter(|(_, share)| spare || share.held == 0);
        let next = next.filter_map(|(tenant, share)| {
            Some(((share.held, share.served, first(share)?), tenant.clone()))
        });
        let ((_, _, number), tenant) = next.min_by_key(|(rank, _)| *rank)?;
        let pull = self.pulls.get_mut(&number)?;
        let State::Waits(wake) = std::mem::replace(&mut pull.state, State::Holds(tenant.clone()))
        else {
            return None;
        };
        let tenants = pull.tenants.clone();
        self.free -= 1;
        self.given += 1;
        let given = self.given;
        let share = self.share(tenant);
        (share.held, share.served) = (share.held + 1, given);
        for tenant in &tenants {
            self.tidy(tenant);
        }
        Some(wake)
    }

    fn waits(&self, number: u64) -> bool {
        self.pulls.get(&number).is_some_and(|pull| matches!(pull.state, State::Waits(_)))
    }

    fn share(&mut self, tenant: Tenant) -> &mut Share {
        // Who comes anew is not before those who have waited.
        let new = Share { held: 0, waiting: VecDeque::new(), served: self.given };
        self.tenants.entry(tenant).or_insert(new)
    }

    /// Forgets the pulls before a tenant's first that waits, and the tenant if it has nothing.
    fn tidy(&mut self, tenant: &Tenant) {
        let Some(share) = self.tenants.get(tenant) else { return };
        let gone = share.waiting.iter().take_while(|number| !self.waits(**number)).count();
        let Some(share) = self.tenants.get_mut(tenant) else { return };
        share.waiting.drain(..gone);
        if share.held == 0 && share.waiting.is_empty() {
            self.tenants.remove(tenant);
        }
    }
}

/// The turns of one node.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Mutex<Queue<oneshot::Sender<()>>>>);

impl Turns {
    /// So many at once; at least one.
    pub(super) fn new(turns: usize) -> Self {
        Self(Arc::new(Mutex::new(Queue::new(turns))))
    }

    /// A pull of `tenant` begins. No two have the same number at a time.
    pub(super) fn enter(&self, number: u64, tenant: Tenant) -> Place {
        self.queue().enter(number, tenant);
        Place { turns: self.clone(), number }
    }

    /// Another caller wants the pull of that number, if it has not ended.
    pub(super) fn join(&self, number: u64, tenant: Tenant) {
        let mut queue = self.queue();
        queue.join(number, tenant);
        wake(&mut queue);
    }

    fn queue(&self) -> MutexGuard<'_, Queue<oneshot::Sender<()>>> {
        // Nothing in there panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(queue: &mut Queue<oneshot::Sender<()>>) {
    while let Some(wake) = queue.next() {
        // A pull that has been dropped just now gives the turn back by its place.
        wake.send(()).ok();
    }
}

/// A pull's place: from its beginning, through the wait for its turn, until it is dropped, which
/// gives the turn back.
#[derive(Debug)]
pub(super) struct Place {
    turns: Turns,
    number: u64,
}

impl Place {
    /// Waits for its turn. To be called once.
    pub(super) async fn turn(&self) -> Result<(), Crowded> {
        let (sender, woken) = oneshot::channel();
        {
            let mut queue = self.turns.queue();
            queue.wait(self.number, sender)?;
            wake(&mut queue);
        }
        // The sender goes with the place only.
        woken.await.ok();
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.turns.queue();
        queue.leave(self.number);
        wake(&mut queue);
    }
}

#[cfg(test)]
mod tests;
