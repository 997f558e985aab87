//! Work that outlives whoever asked for it: one task per key, shared by all who ask meanwhile.
//!
//! A CSI handler is dropped when its deadline passes, and kubelet asks again with a longer and
//! longer back-off. So the work runs in a task of its own; callers wait for it as long as they
//! like and find it again. A failure that nobody waited for is kept for the next caller, who
//! would otherwise start the same failing work from scratch for ever.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::progress::Progress;
use crate::observability::task;

/// How long a failure waits for somebody to hear of it. Kubelet's longest back-off is 2m2s.
const UNCLAIMED: Duration = Duration::from_secs(300);

type Slot<T, E> = Option<Result<T, Arc<E>>>;

#[derive(Debug)]
struct Entry<T, E> {
    result: watch::Receiver<Slot<T, E>>,
    progress: Arc<Progress>,
    number: u64,
    /// Set when the work has failed and nobody was waiting.
    failed: Option<Instant>,
}

/// The running work of one kind.
#[derive(Debug)]
pub struct Flights<K, T, E> {
    entries: Arc<Mutex<HashMap<K, Entry<T, E>>>>,
    /// The number of the next one.
    next: AtomicU64,
}

/// One piece of work, seen by one of those who wait for it.
#[derive(Debug)]
pub struct Flight<T, E> {
    result: watch::Receiver<Slot<T, E>>,
    /// How far it has come.
    pub progress: Arc<Progress>,
    /// Which piece of work it is; each has another number.
    pub number: u64,
    /// Whether this caller started it.
    pub started: bool,
}

impl<K, T, E> Default for Flights<K, T, E> {
    fn default() -> Self {
        Self { entries: Arc::default(), next: AtomicU64::new(0) }
    }
}

impl<K, T, E> Flights<K, T, E>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Joins the work for `key`, or starts it, with its number. `lost` makes the error for work that
    /// panicked. Nobody joins before `work` has returned its future.
    pub fn join<F>(
        &self,
        key: K,
        lost: fn(String) -> E,
        work: impl FnOnce(u64, Arc<Progress>) -> F,
    ) -> Flight<T, E>
    where
        F: Future<Output = Result<T, Arc<E>>> + Send + 'static,
    {
        let mut entries = lock(&self.entries);
        entries.retain(|_, entry| entry.failed.is_none_or(|at| at.elapsed() < UNCLAIMED));
        if let Some(entry) = entries.get(&key) {
            let flight = Flight {
                result: entry.result.clone(),
                progress: entry.progress.clone(),
                number: entry.number,
                started: false,
            };
            if entry.failed.is_some() {
                entries.remove(&key);
            }
            return flight;
        }
        let (sender, result) = watch::channel(None);
        let progress = Arc::new(Progress::default());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (shown, reported) = (result.clone(), progress.clone());
        let entry = Entry { result: shown, progress: reported, number, failed: None };
        let work = work(number, progress.clone());
        entries.insert(key.clone(), entry);
        drop(entries);

        let work = task::spawn(work);
        let all = self.entries.clone();
        tokio::spawn(async move {
            let outcome = work.await.unwrap_or_else(|error| Err(Arc::new(lost(error.to_string()))));
            let mut entries = lock(&all);
            // The table's own receiver is one; any other belongs to somebody who waits.
            let unheard = outcome.is_err() && sender.receiver_count() <= 1;
            sender.send_replace(Some(outcome));
            match entries.get_mut(&key) {
                Some(entry) if unheard => entry.failed = Some(Instant::now()),
                _ => drop(entries.remove(&key)),
            }
        });
        Flight { result, progress, number, started: true }
    }

    /// How many are running or waiting to be heard of.
    pub fn len(&self) -> usize {
        lock(&self.entries).len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Clone, E> Flight<T, E> {
    /// Waits for the end. Dropping the wait does not stop the work.
    pub async fn wait(&mut self) -> Result<T, Arc<E>> {
        loop {
            if let Some(outcome) = self.result.borrow_and_update().as_ref() {
                return outcome.clone();
            }
            if self.result.changed().await.is_err() {
                // The sender goes only with the runtime: then nobody is left to answer.
                std::future::pending::<()>().await;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The table stays consistent between statements: a poisoned lock tells of nothing broken.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use tokio::sync::Semaphore;

    type Table = Flights<&'static str, u32, String>;

    #[tokio::test]
    async fn all_who_ask_share_one_run() {
        let flights = Table::default();
        let (gate, runs) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
        let join = || {
            let (gate, runs) = (gate.clone(), runs.clone());
            flights.join(
                "k",
                |e| e,
                move |_, _| async move {
                    gate.acquire().await.unwrap().forget();
                    Ok(runs.fetch_add(1, Ordering::Relaxed))
                },
            )
        };
        let mut waiting: Vec<_> = (0..100).map(|_| join()).collect();
        assert_eq!(waiting.iter().filter(|flight| flight.started).count(), 1);
        gate.add_permits(1);
        for flight in &mut waiting {
            assert_eq!(flight.wait().await, Ok(0));
        }
        gate.add_permits(1);
        assert_eq!(join().wait().await, Ok(1), "what has ended is not joined");
    }

    #[tokio::test]
    async fn a_failure_that_nobody_heard_is_told_once() {
        let flights = Table::default();
        drop(flights.join("k", |e| e, |_, _| async { Err(Arc::new("first".to_owned())) }));
        while lock(&flights.entries).get("k").is_none_or(|entry| entry.failed.is_none()) {
            tokio::task::yield_now().await;
        }
        let again = || flights.join("k", |e| e, |_, _| async { Ok(7) });
        assert_eq!(again().wait().await, Err(Arc::new("first".to_owned())));
        assert_eq!(again().wait().await, Ok(7));
        while !flights.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_own_run() {
        let flights = Table::default();
        let mut flight = flights.join("k", |_| "lost".to_owned(), |_, _| async { panic!("boom") });
        assert_eq!(flight.wait().await, Err(Arc::new("lost".to_owned())));
    }
}
