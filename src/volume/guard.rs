//! One operation per volume at a time. The CSI specification asks the orchestrator for no more
//! than one call in flight per volume, and the plugin to answer a second one with `ABORTED`
//! (spec.md, *Concurrency*).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The volumes that an operation holds.
#[derive(Debug, Default)]
pub struct Guard(Mutex<HashSet<String>>);

/// The right to work on one volume, given back when dropped.
#[derive(Debug)]
pub struct Held {
    guard: Arc<Guard>,
    volume_id: String,
}

impl Guard {
    /// Takes a volume; none if somebody else holds it.
    pub fn take(self: &Arc<Self>, volume_id: &str) -> Option<Held> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = held.insert(volume_id.to_owned());
        taken.then(|| Held { guard: self.clone(), volume_id: volume_id.to_owned() })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.guard.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.volume_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_held_by_one() {
        let guard = Arc::new(Guard::default());
        let first = guard.take("a").unwrap();
        assert!(guard.take("a").is_none());
        let _other = guard.take("b").unwrap();
        drop(first);
        assert!(guard.take("a").is_some());
    }
}
