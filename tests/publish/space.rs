//! Space in staging is reserved from what manifests say, before a layer is asked for.

use std::time::Duration;

use skillmount::pull::CollectPolicy;
use skillmount::reference::Digest;

use super::*;
use crate::support::{Fault, Gate, On, Skill};

/// A skill that is so large that space is reserved for it: its layer has some 5 MB.
fn vast(name: &str) -> Skill {
    let files = skills::large(50, 100_000).files;
    Skill { files, ..Skill::new(name, "") }.file("name", name, 0o644)
}

fn of(namespace: &str, volume: Volume) -> Volume {
    volume.attribute("csi.storage.k8s.io/pod.namespace", namespace)
}

#[test]
fn pulls_that_do_not_fit_together_run_one_after_the_other() {
    run("space::pulls_that_do_not_fit_together_run_one_after_the_other", async {
        // One fits, or not even one: then it runs alone.
        for cap in [8_000_000, 1] {
            let registry = Registry::start(Options::default());
            let setup = Setup { staging: Some(cap), ..Setup::default() };
            let driver = Driver::start(&namespace::scratch(), setup).await;
            let [first, second] = ["first", "second"].map(|name| {
                let repository = format!("team/{name}");
                artifacts::skillimage(&registry, &repository, "v1", &vast(name));
                of(name, driver.volume(name, &registry.reference(&repository, "v1")))
            });
            artifacts::skillimage(&registry, "team/small", "v1", &skills::code_review());
            let small = driver.volume("small", &registry.reference("team/small", "v1"));
            let gate = Gate::held();
            let layers = ["team/first", "team/second"]
                .map(|repository| registry.layers(repository, "v1")[0].clone());
            registry.fault(On::blob(&layers[0]), Fault::Hold { after: 100, gate: gate.clone() });
            let call = tokio::spawn({
                let (client, first) = (driver.client(), first.clone());
                async move { client.publish(&first).await }
            });
            gate.wait_for_waiting(1).await;
            // At first it asks what the reference is, and a busy machine answers late.
            let told = loop {
                let late = driver.publish_within(&second, Duration::from_secs(1)).await;
                let told = refused(late);
                if told.0 != Code::Cancelled && !told.1.contains(": resolving") {
                    break told;
                }
            };
            let message = format!(
                "still pulling {}: waiting for space that other pulls have reserved; the pull goes \
                 on and the next try finds it",
                registry.reference("team/second", "v1")
            );
            assert_eq!(told, (Code::Aborted, message), "{cap}");
            let blob = |layer: &Digest| registry.count("GET", &format!("/blobs/{layer}"));
            assert_eq!(layers.each_ref().map(blob), [1, 0], "{cap}");
            // What is small waits for nobody.
            driver.publish(&small).await.unwrap();
            assert!(!call.is_finished());
            gate.release();
            call.await.unwrap().unwrap();
            driver.publish(&second).await.unwrap();
            assert_eq!(layers.each_ref().map(blob), [1, 1], "{cap}");
            for (volume, skill) in [
                (&first, vast("first")),
                (&second, vast("second")),
                (&small, skills::code_review()),
            ] {
                assert_eq!(tree::listing(&volume.target), skill.listing());
                driver.unpublish(volume).await.unwrap();
            }
            assert_clean(&driver.root);
            driver.stop().await;
        }
    });
}

#[test]
fn what_the_disk_has_no_room_for_is_not_asked_for() {
    run("space::what_the_disk_has_no_room_for_is_not_asked_for", async {
        let root = namespace::scratch();
        let state = root.join("state");
        fs::create_dir(&state).unwrap();
        let (tmpfs, none, more) = (Some("tmpfs"), None::<&str>, Some("size=16m"));
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(tmpfs, &state, tmpfs, flags, Some("size=4560k")).unwrap();
        let registry = Registry::start(Options::default());
        let driver = Driver::start(&root, Setup::default()).await;
        let small = skills::code_review();
        artifacts::skillimage(&registry, "team/small", "v1", &small);
        artifacts::skillimage(&registry, "team/vast", "v1", &vast("vast"));
        // A collection, and an artifact without a config.
        let digest = registry.reference("team/vast", "v1");
        artifacts::skillimage_collection(&registry, "team/all", "v1", &[("vast", &digest)]);
        artifacts::oras_dir(&registry, "team/oras", "v1", &vast("oras"));
        let volume = |id: &str, name: &str| {
            driver.volume(id, &registry.reference(&format!("team/{name}"), "v1"))
        };
        let kept = volume("kept", "small");
        driver.publish(&kept).await.unwrap();
        for (name, place, read) in [
            ("vast", "", &[][..]),
            ("oras", "", &[]),
            ("all", "collection member \"vast\": ", &["its list"]),
        ] {
            registry.clear();
            let refused = refused(driver.publish(&volume(name, name)).await);
            let message = format!(
                "cannot pull {}/team/{name}:v1: {place}the state directory's disk has no room for \
                 it: its layers have 5.0 MB, and 4.6 MB are free, of which other pulls have \
                 reserved 0 B",
                registry.host()
            );
            assert_eq!(refused, (Code::ResourceExhausted, message));
            let blobs = registry.lines().into_iter().filter(|line| line.contains("/blobs/"));
            assert_eq!(blobs.count(), read.len(), "{:?}", registry.lines());
            assert_eq!(names(&state.join("staging")), [""; 0]);
            assert_eq!(names(&root.join("pods").join(name)), [""; 0]);
        }
        assert_eq!(stored(&root).len(), 1);
        assert_eq!(tree::listing(&kept.target), small.listing());
        let other = volume("other", "small");
        driver.publish(&other).await.unwrap();
        nix::mount::mount(none, &state, none, nix::mount::MsFlags::MS_REMOUNT, more).unwrap();
        let vast = volume("vast", "vast");
        driver.publish(&vast).await.unwrap();
        for volume in [&kept, &other, &vast] {
            driver.unpublish(volume).await.unwrap();
        }
        driver.stop().await;
    });
}

#[test]
fn unused_trees_go_for_what_fits_then_and_for_nothing_else() {
    run("space::unused_trees_go_for_what_fits_then_and_for_nothing_else", async {
        let root = namespace::scratch();
        let state = root.join("state");
        fs::create_dir(&state).unwrap();
        let (tmpfs, flags) = (Some("tmpfs"), nix::mount::MsFlags::empty());
        nix::mount::mount(tmpfs, &state, tmpfs, flags, Some("size=8m")).unwrap();
        let registry = Registry::start(Options::default());
        let young = CollectPolicy { min_age: Duration::ZERO, ..CollectPolicy::default() };
        let never = CollectPolicy { high_threshold: 100, ..young };
        let driver = Driver::start(&root, Setup { collect: never, ..Setup::default() }).await;
        let [a, b] = ["a", "b"].map(|name| {
            artifacts::skillimage(&registry, &format!("team/{name}"), "v1", &vast(name));
            driver.volume(name, &registry.reference(&format!("team/{name}"), "v1"))
        });
        artifacts::skillimage(&registry, "team/huge", "v1", &skills::large(90, 100_000));
        let huge = driver.volume("huge", &registry.reference("team/huge", "v1"));
        driver.publish(&a).await.unwrap();
        driver.unpublish(&a).await.unwrap();
        driver.in_use(0).await;
        let before = stored(&root);
        let (code, _) = refused(driver.publish(&huge).await);
        assert_eq!(code, Code::ResourceExhausted);
        assert_eq!(stored(&root), before, "in vain");
        registry.clear();
        driver.publish(&b).await.unwrap();
        assert_eq!(tree::listing(&b.target), vast("b").listing());
        assert_eq!(stored(&root).len(), 1);
        assert_ne!(stored(&root), before);
        let layer = &registry.layers("team/b", "v1")[0];
        assert_eq!(registry.count("GET", &format!("/blobs/{layer}")), 1, "not before");
        driver.unpublish(&b).await.unwrap();
        driver.stop().await;
    });
}
