use super::*;
use crate::credentials::{Keyring, Salt};
use crate::pull::PullPolicy;

const FIRST: Duration = Duration::from_secs(10);

fn key(reference: &str, password: &str) -> Key {
    let json = format!(r#"{{"auths":{{"r.io":{{"username":"u","password":"{password}"}}}}}}"#);
    let keyring = Keyring::from_docker_config(json.as_bytes(), "a test").unwrap();
    Key {
        source: reference.parse().unwrap(),
        policy: PullPolicy::Always,
        options: PullOptions::default(),
        logins: keyring.fingerprint(&Salt::new(&[7; 32])),
    }
}

/// Fails whatever the options are.
fn timeout() -> Arc<PullError> {
    Arc::new(PullError::Timeout(1))
}

fn no_member() -> Arc<PullError> {
    Arc::new(PullError::NoMember { wanted: "a".into(), available: "b".into() })
}

#[test]
fn the_pause_doubles_up_to_five_minutes() {
    let mut now = Instant::now();
    let (backoff, key) = (Backoff::new(FIRST), key("r.io/a:v1", "p"));
    for seconds in [10, 20, 40, 80, 160, 300, 300] {
        assert!(backoff.check(&key, now).is_none(), "{seconds}");
        backoff.record(&key, now, Some(&timeout()));
        now += Duration::from_secs(seconds) - Duration::from_millis(1);
        assert!(backoff.check(&key, now).is_some(), "{seconds}");
        now += Duration::from_millis(1);
    }
    now += FORGOTTEN - MAX_PAUSE;
    backoff.record(&key, now, Some(&timeout()));
    now += FIRST;
    assert!(backoff.check(&key, now).is_none(), "what failed long ago begins anew");
}

#[test]
fn a_success_ends_it() {
    let mut now = Instant::now();
    let (backoff, key) = (Backoff::new(FIRST), key("r.io/a:v1", "p"));
    for _ in 0..2 {
        backoff.record(&key, now, Some(&timeout()));
        backoff.record(&key, now, Some(&no_member()));
        backoff.record(&key, now, None);
        assert!(backoff.check(&key, now).is_none());
        backoff.record(&key, now, Some(&timeout()));
        now += FIRST;
        assert!(backoff.check(&key, now).is_none(), "the pause is the first one");
        backoff.record(&key, now, None);
    }
    assert!(backoff.failures().is_empty());
}

/// Two pulls that ran at once are one failure; the newer cause is told.
#[test]
fn simultaneous_failures_count_once() {
    let mut now = Instant::now();
    let (backoff, key) = (Backoff::new(FIRST), key("r.io/a:v1", "p"));
    backoff.record(&key, now, Some(&timeout()));
    let newer = Arc::new(PullError::Timeout(2));
    backoff.record(&key, now, Some(&newer));
    assert_eq!(backoff.check(&key, now).unwrap().to_string(), newer.to_string());
    now += FIRST;
    assert!(backoff.check(&key, now).is_none());
}

#[test]
fn only_the_same_attempt_waits() {
    let now = Instant::now();
    let failed = key("r.io/a:v1", "p");
    // It would ask for the digest that the node knows.
    let other_policy = Key { policy: PullPolicy::IfNotPresent, ..failed.clone() };
    let raw = PullOptions { raw: true, ..PullOptions::default() };
    let other_options = Key { options: raw, ..failed.clone() };
    for (error, same_options_only) in [(timeout(), false), (no_member(), true)] {
        let backoff = Backoff::new(FIRST);
        backoff.record(&failed, now, Some(&error));
        for (asked, waits) in [
            (&failed, true),
            (&other_policy, false),
            (&other_options, !same_options_only),
            (&key("r.io/a:v1", "other"), false),
            (&key("r.io/a:v2", "p"), false),
        ] {
            assert_eq!(backoff.check(asked, now).is_some(), waits, "{error}: {asked:?}");
        }
    }
}

#[test]
fn what_is_not_the_references_fault_and_zero_remember_nothing() {
    let now = Instant::now();
    let key = key("r.io/a:v1", "p");
    let internal = Arc::new(PullError::Panicked("boom".into()));
    for (first, error) in [(FIRST, internal), (Duration::ZERO, timeout())] {
        let backoff = Backoff::new(first);
        backoff.record(&key, now, Some(&error));
        assert!(backoff.check(&key, now).is_none());
        assert!(backoff.failures().is_empty());
    }
}

#[test]
fn the_table_is_bounded_and_the_oldest_gives_way() {
    let mut now = Instant::now();
    let backoff = Backoff::new(MAX_PAUSE);
    let numbered = |number: usize| key(&format!("r.io/a:v{number}"), "p");
    for number in 0..=MAX_ENTRIES {
        backoff.record(&numbered(number), now, Some(&timeout()));
        now += Duration::from_millis(1);
    }
    assert_eq!(backoff.failures().len(), MAX_ENTRIES);
    assert!(backoff.check(&numbered(0), now).is_none());
    assert!(backoff.check(&numbered(1), now).is_some());
    assert!(backoff.check(&numbered(MAX_ENTRIES), now).is_some());
    now += FORGOTTEN;
    backoff.record(&numbered(0), now, Some(&timeout()));
    assert_eq!(backoff.failures().len(), 1, "what is forgotten goes first");
}
