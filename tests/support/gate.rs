//! A gate that tests open: it stops a response at a byte that the test chose, so that a test
//! waits for an event and never for a time.

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Debug, Clone, Copy, Default)]
struct State {
    open: bool,
    permits: u64,
    waiting: u32,
    served: u64,
}

/// A gate. Clones are the same gate; several responses may wait at one.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<State>>);

impl Gate {
    /// A closed gate.
    pub fn held() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }

    /// An open gate: it only counts.
    pub fn open() -> Self {
        let gate = Self::held();
        gate.release();
        gate
    }

    /// Opens the gate for all, for good.
    pub fn release(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// Lets `count` chunks (or, at [`super::Fault::Stall`], responses) through.
    pub fn admit(&self, count: u64) {
        self.0.send_modify(|state| state.permits += count);
    }

    /// Body bytes handed to connections behind this gate so far. The peer may not have read
    /// them yet.
    pub fn served(&self) -> u64 {
        self.0.borrow().served
    }

    /// How many responses stand before the closed gate now.
    pub fn waiting(&self) -> u32 {
        self.0.borrow().waiting
    }

    /// Returns once `count` responses stand before the gate.
    pub async fn wait_for_waiting(&self, count: u32) {
        self.wait(|state| state.waiting >= count).await;
    }

    /// Returns once no response stands before the gate: all were let through or gave up.
    pub async fn wait_for_none_waiting(&self) {
        self.wait(|state| state.waiting == 0).await;
    }

    /// Returns once at least `bytes` were served.
    pub async fn wait_for_served(&self, bytes: u64) {
        self.wait(|state| state.served >= bytes).await;
    }

    async fn wait(&self, reached: impl FnMut(&State) -> bool) {
        let mut reached = reached;
        // The sender lives as long as self.
        self.0.subscribe().wait_for(|state| reached(state)).await.expect("a gate");
    }

    /// The registry's side: returns when this response may go on.
    pub(super) async fn pass(&self) {
        struct Waiting<'a>(&'a Gate);
        impl Drop for Waiting<'_> {
            // Also when the peer hangs up and the response is dropped.
            fn drop(&mut self) {
                self.0.0.send_modify(|state| state.waiting -= 1);
            }
        }
        if self.take() {
            return;
        }
        self.0.send_modify(|state| state.waiting += 1);
        let _waiting = Waiting(self);
        loop {
            self.wait(|state| state.open || state.permits > 0).await;
            if self.take() {
                return;
            }
        }
    }

    pub(super) fn count(&self, bytes: u64) {
        self.0.send_modify(|state| state.served += bytes);
    }

    fn take(&self) -> bool {
        let mut taken = false;
        self.0.send_if_modified(|state| {
            taken = state.open || state.permits > 0;
            if taken && !state.open {
                state.permits -= 1;
            }
            taken && !state.open
        });
        taken
    }
}
