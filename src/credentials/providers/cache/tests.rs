use tokio::time::{advance, pause};

use super::*;
use crate::credentials::providers::config::{CacheType, TokenAttributes};
use crate::credentials::providers::workload::{Subject, Workload, testing};
use crate::credentials::{Keyring, Login};
use crate::reference::Reference;

fn image(text: &str) -> Repository {
    text.parse::<Reference>().unwrap().repository().clone()
}

fn answer(cache_key_type: CacheKeyType, lifetime: Option<u64>) -> Arc<Answer> {
    let login = Login::Bearer(String::new());
    let keyring = Keyring::from_logins([("r.io".into(), login)], "p");
    Arc::new(Answer { cache_key_type, lifetime: lifetime.map(Duration::from_secs), keyring })
}

const DEFAULT: Duration = Duration::from_secs(100);

/// What an answer about `r.io/team/a` is good for.
#[tokio::test]
async fn an_answer_is_good_for_what_its_type_says() {
    use CacheKeyType::{Global, Image, Registry};
    let asked = image("r.io/team/a:v1");
    for (key_type, expected) in [
        (Image, [true, true, false, false, false]),
        (Registry, [true, true, true, false, false]),
        (Global, [true, true, true, true, true]),
    ] {
        let cache = Cache::default();
        cache.put(&asked, None, &answer(key_type, None), DEFAULT);
        let images =
            ["r.io/team/a:v1", "r.io/team/a:v2", "r.io/team/b", "r.io:5000/team/a", "s.io/a"];
        let found = images.map(|other| cache.get(&image(other), None).is_some());
        assert_eq!(found, expected, "{key_type:?}");
    }
}

#[tokio::test]
async fn the_narrower_answer_counts_first() {
    let cache = Cache::default();
    let asked = image("r.io/a");
    let [all, registry, one] = [CacheKeyType::Global, CacheKeyType::Registry, CacheKeyType::Image]
        .map(|key_type| answer(key_type, None));
    for stored in [&one, &registry, &all] {
        cache.put(&asked, None, stored, DEFAULT);
    }
    for (other, expected) in [("r.io/a", &one), ("r.io/b", &registry), ("s.io/a", &all)] {
        assert!(Arc::ptr_eq(&cache.get(&image(other), None).unwrap(), expected), "{other}");
    }
}

#[tokio::test]
async fn answers_expire_by_their_own_time_or_the_default() {
    pause();
    let asked = image("r.io/a");
    for (lifetime, seconds) in [(None, 100), (Some(10), 10), (Some(1000), 1000)] {
        let cache = Cache::default();
        cache.put(&asked, None, &answer(CacheKeyType::Image, lifetime), DEFAULT);
        advance(Duration::from_secs(seconds) - Duration::from_millis(1)).await;
        assert!(cache.get(&asked, None).is_some(), "{lifetime:?}");
        advance(Duration::from_millis(1)).await;
        assert!(cache.get(&asked, None).is_none(), "{lifetime:?}");
        assert!(cache.entries().is_empty());
    }
    for (lifetime, default) in [(Some(0), DEFAULT), (None, Duration::ZERO)] {
        let cache = Cache::default();
        cache.put(&asked, None, &answer(CacheKeyType::Global, lifetime), default);
        assert!(cache.get(&asked, None).is_none(), "{lifetime:?}");
    }
}

#[tokio::test]
async fn the_one_used_longest_ago_gives_way() {
    let cache = Cache::default();
    let numbered = |number: usize| image(&format!("r.io/{number}"));
    for number in 0..ENTRIES {
        cache.put(&numbered(number), None, &answer(CacheKeyType::Image, None), DEFAULT);
    }
    assert!(cache.get(&numbered(0), None).is_some());
    cache.put(&numbered(ENTRIES), None, &answer(CacheKeyType::Image, None), DEFAULT);
    assert!(cache.get(&numbered(1), None).is_none());
    for number in [0, 2, ENTRIES] {
        assert!(cache.get(&numbered(number), None).is_some(), "{number}");
    }
    // Another answer to the same question takes the place of the first.
    cache.put(&numbered(2), None, &answer(CacheKeyType::Image, None), DEFAULT);
    assert_eq!(cache.entries().len(), ENTRIES);
}

/// For which service accounts and tokens an answer is kept that was given for `team/a`.
#[tokio::test]
async fn an_answer_for_a_service_account_is_for_nobody_else() {
    let key = |cache_type, namespace: &str, name: &str, uid: &str, jti: &str| {
        let attributes = TokenAttributes {
            audience: "aud".into(),
            cache_type,
            required: true,
            required_annotations: vec![],
            optional_annotations: vec![],
        };
        let token = testing::token(namespace, name, uid, "pod", jti);
        let workload = Workload {
            namespace: namespace.into(),
            service_account: name.into(),
            pod_uid: "pod".into(),
            tokens: [("aud".to_owned(), token)].into(),
        };
        let subject = Subject::of(Some(&attributes), Some(&workload)).ok().unwrap();
        subject.account().unwrap().key()
    };
    let asked = image("r.io/a");
    for (cache_type, another_token) in
        [(CacheType::ServiceAccount, true), (CacheType::Token, false)]
    {
        let cache = Cache::default();
        let own = key(cache_type, "team", "a", "1", "x");
        cache.put(&asked, Some(own.clone()), &answer(CacheKeyType::Global, None), DEFAULT);
        for (account, expected) in [
            (Some(own), true),
            (Some(key(cache_type, "team", "a", "1", "y")), another_token),
            (Some(key(cache_type, "team", "a", "2", "x")), false),
            (Some(key(cache_type, "team", "b", "1", "x")), false),
            (Some(key(cache_type, "other", "a", "1", "x")), false),
            (None, false),
        ] {
            assert_eq!(cache.get(&asked, account.as_ref()).is_some(), expected, "{cache_type:?}");
        }
    }
}
