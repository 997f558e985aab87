//! A storm of publishes and unpublishes in which the driver is killed again and again.
//!
//! `SKILLMOUNT_STORM_KILLS` (default 25) is how often, `SKILLMOUNT_STORM_SEED` what decides about
//! everything that is random; it is printed. `make storm` kills it 1,000 times.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests assert, and say what they did"
)]

mod caller;
mod catalogue;
mod checks;
mod crowd;
mod model;
#[path = "../support/namespace.rs"]
mod namespace;
#[path = "../publish/node.rs"]
#[allow(dead_code, reason = "shared with the tests of publish")]
mod node;
mod operator;
mod quiet;
mod storm;
#[path = "../support/mod.rs"]
mod support;
mod weather;

/// Every password contains it, and nothing that is logged may.
const CANARY: &str = "CANARY-storm";

/// What must hold does not. The text says what, and where.
type Checked<T = ()> = Result<T, String>;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn a_storm_of_kills_loses_nothing_and_leaks_nothing() {
    let name = "a_storm_of_kills_loses_nothing_and_leaks_nothing";
    namespace::in_namespace(name, || {
        let kills = number("SKILLMOUNT_STORM_KILLS").unwrap_or(25);
        let seed = number("SKILLMOUNT_STORM_SEED").unwrap_or_else(|| {
            let since = std::time::UNIX_EPOCH.elapsed().unwrap();
            u64::from(since.subsec_nanos()) << 16 ^ since.as_secs()
        });
        println!("SKILLMOUNT_STORM_SEED={seed} SKILLMOUNT_STORM_KILLS={kills}");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(storm::run(seed, kills));
    });
}
