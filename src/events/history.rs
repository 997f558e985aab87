//! What pods were told lately, so that a repeat becomes a count and no pod fills the API server.
//!
//! Rules and numbers are those of client-go's `EventCorrelator` (tools/record/events_cache.go),
//! which kubelet has too: what differs in nothing but its time is one event, and each object has
//! 25 requests, one more every five minutes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Subject, Told};

/// Requests for one pod at once.
const BURST: u32 = 25;

/// How long until there is one more.
const REFILL: Duration = Duration::from_secs(300);

/// Pods that are remembered: as many as a node has. The one that was told of longest ago gives
/// way.
const MAX_PODS: usize = 256;

/// Events of one pod that are remembered, each of which may have a message of 1 KiB.
const MAX_EVENTS: usize = 16;

/// The longest name of an object, in bytes.
const MAX_NAME: usize = 253;

/// An event as it is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The object's name.
    pub(super) name: String,
    /// When it was so first.
    pub(super) first: SystemTime,
    /// How often it was so; 1 for a new one.
    pub(super) count: u32,
}

/// The pods of this node.
#[derive(Debug, Default)]
pub(super) struct History(HashMap<Key, Pod>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    namespace: String,
    name: String,
    uid: String,
}

#[derive(Debug)]
struct Pod {
    /// Requests that it may still have, and since when so many.
    left: u32,
    since: Instant,
    used: Instant,
    seen: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    about: Arc<Subject>,
    reason: &'static str,
    message: String,
    entry: Entry,
}

impl History {
    /// Remembers an event and says how to write it; nothing if the pod has had too many.
    pub(super) fn note(&mut self, told: &Told, now: Instant) -> Option<Entry> {
        let about = &told.about;
        let key = Key {
            namespace: about.namespace.as_str().into(),
            name: about.pod.as_str().into(),
            uid: about.uid.clone(),
        };
        if self.0.len() >= MAX_PODS && !self.0.contains_key(&key) {
            let oldest = self.0.iter().min_by_key(|(_, pod)| pod.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.0.remove(&oldest);
            }
        }
        let new = || Pod { left: BURST, since: now, used: now, seen: Vec::new() };
        self.0.entry(key).or_insert_with(new).note(told, now)
    }
}

impl Pod {
    fn note(&mut self, told: &Told, now: Instant) -> Option<Entry> {
        self.used = now;
        let same = |seen: &Seen| {
            *seen.about == *told.about && seen.reason == told.reason && seen.message == told.message
        };
        let known = self.seen.iter().position(same);
        if let Some(at) = known {
            // It counts whether it can be written or not: the next one tells.
            let entry = &mut self.seen[at].entry;
            entry.count = entry.count.saturating_add(1);
        }
        if !self.take(now) {
            return None;
        }
        if let Some(at) = known {
            return Some(self.seen[at].entry.clone());
        }
        let entry = Entry { name: name(told), first: told.at, count: 1 };
        if self.seen.len() >= MAX_EVENTS {
            self.seen.remove(0);
        }
        self.seen.push(Seen {
            about: told.about.clone(),
            reason: told.reason,
            message: told.message.clone(),
            entry: entry.clone(),
        });
        Some(entry)
    }

    /// Takes one of the requests, if there is one.
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        let more = u32::try_from(passed.as_secs() / REFILL.as_secs()).unwrap_or(BURST);
        if self.left.saturating_add(more) >= BURST {
            (self.left, self.since) = (BURST, now);
        } else {
            (self.left, self.since) = (self.left + more, self.since + REFILL * more);
        }
        let has = self.left > 0;
        self.left = self.left.saturating_sub(1);
        has
    }
}

/// The pod's name and the time in nanoseconds, as client-go has it.
fn name(told: &Told) -> String {
    let since = told.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = format!(".{:x}", since.as_nanos());
    let pod = told.about.pod.as_str();
    // A name is ASCII, and no part of it may end in what joins words.
    let pod = &pod[..pod.len().min(MAX_NAME.saturating_sub(time.len()))];
    format!("{}{time}", pod.trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::Name;

    fn about(pod: &str, uid: &str, volume: Option<&str>) -> Arc<Subject> {
        Arc::new(Subject {
            namespace: "team".parse().unwrap(),
            pod: pod.parse().unwrap(),
            uid: uid.into(),
            volume: volume.map(|name| name.parse().unwrap()),
        })
    }

    fn told(about: &Arc<Subject>, reason: &'static str, message: &str, seconds: u64) -> Told {
        Told {
            about: about.clone(),
            kind: "Normal",
            reason,
            message: message.into(),
            at: UNIX_EPOCH + Duration::from_secs(seconds),
        }
    }

    #[test]
    fn what_differs_in_its_time_only_is_counted() {
        let (mut history, now) = (History::default(), Instant::now());
        let [agent, other, new] = [("agent", "1"), ("other", "2"), ("agent", "3")]
            .map(|(pod, uid)| about(pod, uid, Some("skills")));
        let tools = about("agent", "1", Some("tools"));
        for (subject, reason, message, seconds, expected) in [
            (&agent, "Pulling", "a", 1, ("agent.3b9aca00", 1, 1)),
            (&agent, "Pulling", "a", 2, ("agent.3b9aca00", 1, 2)),
            (&agent, "Pulling", "b", 3, ("agent.b2d05e00", 3, 1)),
            (&agent, "Pulled", "a", 4, ("agent.ee6b2800", 4, 1)),
            (&tools, "Pulling", "a", 5, ("agent.12a05f200", 5, 1)),
            (&other, "Pulling", "a", 6, ("other.165a0bc00", 6, 1)),
            (&new, "Pulling", "a", 7, ("agent.1a13b8600", 7, 1)),
            (&agent, "Pulling", "a", 8, ("agent.3b9aca00", 1, 3)),
        ] {
            let entry = history.note(&told(subject, reason, message, seconds), now).unwrap();
            let first = entry.first.duration_since(UNIX_EPOCH).unwrap().as_secs();
            assert_eq!((entry.name.as_str(), first, entry.count), expected);
        }
    }

    #[test]
    fn a_pod_has_a_burst_and_then_one_in_five_minutes() {
        let (mut history, start) = (History::default(), Instant::now());
        let (agent, other) = (about("agent", "1", None), about("other", "2", None));
        let mut note = |about, after| {
            let told = told(about, "BackOff", "a", 1);
            history.note(&told, start + Duration::from_secs(after)).map(|entry| entry.count)
        };
        for count in 1..=BURST {
            assert_eq!(note(&agent, 0), Some(count));
        }
        assert_eq!(note(&agent, 1), None);
        assert_eq!(note(&agent, 299), None);
        assert_eq!(note(&other, 299), Some(1), "another pod does not suffer");
        assert_eq!(note(&agent, 300), Some(BURST + 3), "what was not written was counted");
        assert_eq!(note(&agent, 599), None);
        assert_eq!(note(&agent, 600), Some(BURST + 5));
        let rested = 600 + 300 * u64::from(BURST) + 7;
        for _ in 0..BURST {
            assert!(note(&agent, rested).is_some());
        }
        assert_eq!(note(&agent, rested), None, "no more than a burst is saved");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut history, start) = (History::default(), Instant::now());
        let first = about("first", "first", None);
        history.note(&told(&first, "Pulling", "a", 1), start).unwrap();
        for number in 0..2 * MAX_PODS {
            let uid = number.to_string();
            let now = start + Duration::from_secs(1);
            history.note(&told(&about("agent", &uid, None), "Pulling", "a", 1), now).unwrap();
        }
        assert_eq!(history.0.len(), MAX_PODS);
        let again = history.note(&told(&first, "Pulling", "a", 2), start).unwrap();
        assert_eq!(again.count, 1, "it gave way first");
        for number in 0..BURST - 1 {
            let message = number.to_string();
            history.note(&told(&first, "Failed", &message, 3), start).unwrap();
        }
        assert!(history.0.values().all(|pod| pod.seen.len() <= MAX_EVENTS));
    }

    #[test]
    fn events_have_names_that_objects_may_have() {
        let cut_at_a_dot = format!("{}.{}", "a".repeat(235), "b".repeat(17));
        for pod in ["agent", &cut_at_a_dot, &"a".repeat(253)] {
            let name = name(&Told {
                at: UNIX_EPOCH + Duration::from_nanos(0x1234_5678_9abc_def0),
                ..told(&about(pod, "1", None), "Pulling", "a", 0)
            });
            assert!(name.parse::<Name>().is_ok(), "{name}");
            let (begin, _) = name.rsplit_once(".123456789abcdef0").unwrap();
            assert!(pod.starts_with(begin) && !begin.ends_with('.'), "{name}");
        }
    }
}
