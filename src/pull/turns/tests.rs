use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn tenant(name: &str) -> Tenant {
    Tenant::from(name)
}

/// A queue whose pulls are woken by their own numbers.
fn queue(turns: usize, waiting: &[(u64, &str)]) -> Queue<u64> {
    let mut queue = Queue::new(turns);
    for (number, name) in waiting {
        queue.enter(*number, tenant(name));
        queue.wait(*number, *number).unwrap();
    }
    queue
}

fn all(queue: &mut Queue<u64>) -> Vec<u64> {
    std::iter::from_fn(|| queue.next()).collect()
}

#[test]
fn one_tenant_never_has_all_turns() {
    let flood: Vec<_> = (0..50).map(|number| (number, "a")).collect();
    for (turns, most) in [(1, 1), (2, 1), (3, 2), (4, 3), (8, 6), (16, 12), (40, 30)] {
        let mut queue = queue(turns, &flood);
        assert_eq!(all(&mut queue), (0..most).collect::<Vec<_>>(), "{turns} turns");
        // The next to come does not wait, but for the only turn.
        queue.enter(100, tenant("b"));
        queue.wait(100, 100).unwrap();
        assert_eq!(queue.next(), (turns > 1).then_some(100), "{turns} turns");
    }
}

#[test]
fn what_is_kept_goes_to_one_tenant_after_the_other() {
    let mut queue = queue(8, &(0..20).map(|number| (number, "a")).collect::<Vec<_>>());
    assert_eq!(all(&mut queue).len(), 6);
    for (number, name) in [(100, "b"), (101, "b"), (102, "c"), (103, "d")] {
        queue.enter(number, tenant(name));
        queue.wait(number, number).unwrap();
    }
    assert_eq!(all(&mut queue), [100, 102], "b has one, which leaves the other to c");
    queue.leave(0);
    assert_eq!(all(&mut queue), [103], "before b's second and a's seventh");
    queue.leave(1);
    assert_eq!(all(&mut queue), [0_u64; 0], "one of the two that are kept");
    queue.leave(2);
    queue.leave(3);
    assert_eq!(all(&mut queue), [101], "b has fewer than a");
}

#[test]
fn equals_are_served_in_turn() {
    let waiting = [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b"), (6, "c")];
    let mut queue = queue(1, &waiting);
    let mut order = Vec::new();
    while let Some(number) = queue.next() {
        order.push(number);
        queue.leave(number);
    }
    assert_eq!(order, [1, 4, 6, 2, 5, 3]);
    assert!(queue.tenants.is_empty() && queue.pulls.is_empty());
}

#[test]
fn who_always_comes_anew_is_not_always_the_next() {
    let mut queue = queue(1, &[(1, "a"), (2, "b"), (3, "b")]);
    assert_eq!(queue.next(), Some(1));
    for (number, expected) in [(10, 2), (11, 10), (12, 3)] {
        // The tenant has nothing for a moment, and is forgotten.
        let running: Vec<_> = queue
            .pulls
            .iter()
            .filter(|(_, pull)| matches!(pull.state, State::Holds(_)))
            .map(|(number, _)| *number)
            .collect();
        queue.leave(running[0]);
        queue.enter(number, tenant("a"));
        queue.wait(number, number).unwrap();
        assert_eq!(queue.next(), Some(expected));
    }
}

#[test]
fn a_pull_goes_by_the_best_of_those_who_want_it() {
    let mut flood: Vec<_> = (0..9).map(|number| (number, "a")).collect();
    flood.push((9, "a"));
    let mut queue = queue(4, &flood);
    assert_eq!(all(&mut queue), [0, 1, 2]);
    // One joins while the pull waits, one before it does.
    queue.join(9, tenant("b"));
    queue.join(9, tenant("b"));
    assert_eq!(all(&mut queue), [9], "it counts for b");
    queue.leave(0);
    assert_eq!(all(&mut queue), [0_u64; 0], "the last turn is kept");
    queue.enter(20, tenant("a"));
    queue.join(20, tenant("c"));
    queue.wait(20, 20).unwrap();
    assert_eq!(all(&mut queue), [20]);
    queue.join(20, tenant("d"));
    queue.join(77, tenant("d"));
    assert!(!queue.tenants.contains_key(&tenant("d")), "there is nothing to wait for");
}

#[test]
fn waiting_pulls_of_a_tenant_are_bounded() {
    let flood: Vec<_> = (0..1 + MAX_WAITING as u64).map(|number| (number, "a")).collect();
    let mut queue = queue(1, &flood[..1]);
    assert_eq!(queue.next(), Some(0));
    for (number, name) in &flood[1..] {
        queue.enter(*number, tenant(name));
        queue.wait(*number, *number).unwrap();
    }
    queue.enter(5000, tenant("a"));
    assert_eq!(queue.wait(5000, 5000), Err(Crowded(MAX_WAITING)));
    queue.leave(5000);
    queue.enter(5001, tenant("b"));
    assert_eq!(queue.wait(5001, 5001), Ok(()), "others are not concerned");
}

/// Random calls, against what must hold after each of them.
#[test]
fn whatever_happens_turns_are_neither_lost_nor_made() {
    for seed in 1..200_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |below: u64| {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let turns = 1 + usize::try_from(random(12)).unwrap();
        let mut queue = Queue::new(turns);
        let (mut entered, mut asked, mut woken) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for number in 0..300 {
            let name = ["a", "b", "c", "d", "e"][usize::try_from(random(5)).unwrap()];
            let some = random(number + 1);
            match random(5) {
                0 | 1 => {
                    queue.enter(number, tenant(name));
                    entered.insert(number);
                }
                2 if entered.contains(&some) && asked.insert(some) => {
                    queue.wait(some, some).unwrap();
                }
                3 => queue.join(some, tenant(name)),
                4 => {
                    queue.leave(some);
                    for set in [&mut entered, &mut asked, &mut woken] {
                        set.remove(&some);
                    }
                }
                _ => {}
            }
            while let Some(number) = queue.next() {
                assert!(asked.contains(&number) && woken.insert(number), "seed {seed}: woken once");
            }
            check(&queue, turns, &woken, &format!("seed {seed}, step {number}"));
        }
        for number in 0..300 {
            queue.leave(number);
            while queue.next().is_some() {}
        }
        assert_eq!(queue.free, turns, "seed {seed}");
        assert!(queue.tenants.is_empty() && queue.pulls.is_empty(), "seed {seed}");
    }
}

fn check(queue: &Queue<u64>, turns: usize, woken: &BTreeSet<u64>, at: &str) {
    let mut held = BTreeMap::new();
    let mut holding = BTreeSet::new();
    for (number, pull) in &queue.pulls {
        if let State::Holds(tenant) = &pull.state {
            *held.entry(tenant.0.to_string()).or_insert(0) += 1;
            holding.insert(*number);
        }
    }
    assert_eq!(holding, *woken, "{at}");
    assert_eq!(queue.free + holding.len(), turns, "{at}");
    for (tenant, share) in &queue.tenants {
        assert_eq!(share.held, held.get(&*tenant.0).copied().unwrap_or(0), "{at}");
        assert!(share.held > 0 || !share.waiting.is_empty(), "{at}: kept for nothing");
        assert!(turns == 1 || share.held < turns, "{at}: all turns are one tenant's");
    }
    // Nobody waits for what is free.
    for pull in queue.pulls.values().filter(|pull| matches!(pull.state, State::Waits(_))) {
        for tenant in &pull.tenants {
            let none = queue.tenants[tenant].held == 0;
            assert!(queue.free <= if none { 0 } else { queue.kept }, "{at}");
        }
    }
}

#[tokio::test]
async fn a_wait_that_is_dropped_gives_its_turn_to_the_next() {
    let turns = Turns::new(1);
    let first = turns.enter(1, tenant("a"));
    first.turn().await.unwrap();
    let second = turns.enter(2, tenant("a"));
    let third = turns.enter(3, tenant("a"));
    let (mut second_turn, mut third_turn) = (Box::pin(second.turn()), Box::pin(third.turn()));
    assert!(futures_util::poll!(&mut second_turn).is_pending());
    assert!(futures_util::poll!(&mut third_turn).is_pending());
    // The second is woken and has not looked yet.
    drop(first);
    assert!(futures_util::poll!(&mut third_turn).is_pending());
    drop(second_turn);
    drop(second);
    third_turn.await.unwrap();
    drop(third);
    assert!(turns.queue().tenants.is_empty() && turns.queue().pulls.is_empty());
}
