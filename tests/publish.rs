//! Publish and unpublish over a real socket, with real mounts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests assert")]

#[path = "support/namespace.rs"]
mod namespace;
mod support;

use support::driver::{Driver, Setup};
use support::{Options, Registry, artifacts, skills, tree};

fn run(test: &str, body: impl Future<Output = ()>) {
    namespace::in_namespace(test, || {
        tokio::runtime::Runtime::new().unwrap().block_on(body);
    });
}

#[test]
fn a_skill_appears_and_goes() {
    run("a_skill_appears_and_goes", async {
        let scratch = tempfile::tempdir().unwrap();
        let registry = Registry::start(Options::default());
        let skill = skills::code_review();
        artifacts::skillimage(&registry, "team/code-review", "v1", &skill);
        let driver = Driver::start(scratch.path(), Setup::default()).await;
        let volume = driver.volume("csi-1", &registry.reference("team/code-review", "v1"));
        driver.publish(&volume).await.unwrap();
        assert_eq!(tree::listing(&volume.target), skill.listing());
        let before = registry.lines();
        driver.publish(&volume).await.unwrap();
        assert_eq!(registry.lines(), before, "a published volume needs no registry");
        driver.unpublish(&volume).await.unwrap();
        assert!(!volume.target.exists());
        driver.unpublish(&volume).await.unwrap();
        driver.stop().await;
    });
}
