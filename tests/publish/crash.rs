//! SIGKILL at any moment: nothing is lost, nothing leaks, nothing is wrong.
//!
//! `SKILLMOUNT_CRASH_ROUNDS` (default 200) and `SKILLMOUNT_CRASH_SEED` choose how often and when.

use std::time::Duration;

use super::*;
use crate::node::Node;
use crate::support::skills::Skill;
use crate::support::{Fault, Gate, On};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn skill(number: u64) -> Skill {
    let text = format!("{number} ").repeat(2000);
    skills::code_review().file("references/number.md", text, 0o644)
}

/// What a pod would read.
fn expected(skill: &Skill) -> std::collections::BTreeMap<String, Vec<u8>> {
    skill.files.iter().map(|(path, file)| (path.clone(), file.content.clone())).collect()
}

#[test]
fn a_killed_driver_loses_and_leaks_nothing() {
    run("crash::a_killed_driver_loses_and_leaks_nothing", async {
        let rounds = number("SKILLMOUNT_CRASH_ROUNDS", 200);
        let seed = number("SKILLMOUNT_CRASH_SEED", 0x5eed_5eed_5eed);
        println!("{rounds} rounds, seed {seed}");
        let mut random = Random(seed | 1);
        let root = namespace::scratch();
        let registry = Registry::start(Options::default());
        let mut cut = [0; 2];
        let mut node = Node::start(&root, &[]).await;
        for round in 0..rounds {
            // Every other round pulls; the rest finds the tree in the store.
            let skill = skill(round / 2);
            let tag = format!("v{}", round / 2);
            artifacts::skillimage(&registry, "team/code-review", &tag, &skill);
            let reference = registry.reference("team/code-review", &tag);
            let volume = Volume::new(&root, &format!("csi-{round}"), &reference);
            // Short delays are more likely: most steps are in the first milliseconds.
            let mut delay = || {
                let limit = 1 + random.below(30_000);
                Duration::from_micros(random.below(limit))
            };

            let (client, asked, wait) = (node.client.clone(), volume.clone(), delay());
            let call = tokio::spawn(async move { client.publish(&asked).await });
            tokio::time::sleep(wait).await;
            node.kill().await;
            let answered = call.await.unwrap().is_ok();
            cut[0] += u64::from(!answered);
            if answered {
                assert_eq!(tree::contents(&volume.target), expected(&skill), "round {round}");
            }
            node = Node::start(&root, &[]).await;
            let outcome = node.client.publish(&volume).await;
            outcome.unwrap_or_else(|status| panic!("round {round}, {wait:?}: {status}"));
            assert_eq!(tree::contents(&volume.target), expected(&skill), "round {round}");
            assert_eq!(mounts(&root).len(), 1, "round {round}");

            let (client, asked, wait) = (node.client.clone(), volume.clone(), delay() / 4);
            let call = tokio::spawn(async move { client.unpublish(&asked).await });
            tokio::time::sleep(wait).await;
            node.kill().await;
            let answered = call.await.unwrap().is_ok();
            cut[1] += u64::from(!answered);
            if answered {
                assert!(!volume.target.exists(), "round {round}");
            }
            node = Node::start(&root, &[]).await;
            let outcome = node.client.unpublish(&volume).await;
            outcome.unwrap_or_else(|status| panic!("round {round}, {wait:?}: {status}"));
            assert_clean(&root);
        }
        println!("cut short: {} publishes, {} unpublishes", cut[0], cut[1]);
        assert!(cut[0] > 0 && cut[1] > 0, "the kills came too late to tell anything");
        node.terminate().await;
        assert_clean(&root);
    });
}

/// The steps that wait for the registry, each killed in its middle.
#[test]
fn a_driver_killed_in_a_pull_starts_it_again() {
    run("crash::a_driver_killed_in_a_pull_starts_it_again", async {
        let root = namespace::scratch();
        let registry = Registry::start(Options::default());
        for (number, step) in ["manifest", "blob", "half a blob"].into_iter().enumerate() {
            let skill = skill(1000 + number as u64);
            let tag = format!("v{number}");
            artifacts::skillimage(&registry, "team/code-review", &tag, &skill);
            let layer = &registry.layers("team/code-review", &tag)[0];
            let gate = Gate::held();
            match step {
                "manifest" => registry.fault(On::manifest(&tag), Fault::Stall(gate.clone())),
                "blob" => registry.fault(On::blob(layer), Fault::Stall(gate.clone())),
                _ => {
                    registry.fault(On::blob(layer), Fault::Hold { after: 200, gate: gate.clone() })
                }
            }
            let reference = registry.reference("team/code-review", &tag);
            let volume = Volume::new(&root, &format!("csi-{number}"), &reference);
            let node = Node::start(&root, &[]).await;
            let call = tokio::spawn({
                let (client, volume) = (node.client.clone(), volume.clone());
                async move { client.publish(&volume).await }
            });
            gate.wait_for_waiting(1).await;
            node.kill().await;
            assert!(call.await.unwrap().is_err());
            assert!(!volume.target.exists(), "{step}");
            gate.release();
            let node = Node::start(&root, &[]).await;
            assert_eq!(names(&root.join("state/staging")), [""; 0], "{step}");
            node.client.publish(&volume).await.unwrap();
            assert_eq!(tree::contents(&volume.target), expected(&skill), "{step}");
            node.client.unpublish(&volume).await.unwrap();
            node.kill().await;
            assert_clean(&root);
        }
    });
}
