//! A driver that starts with 500 volumes published.

use futures_util::future::join_all;

use crate::support::driver::{Client, Volume};
use crate::support::tree::{contents, listing, names};
use crate::support::{Options, Registry, Skill, artifacts};
use crate::{checks, namespace, node::Node};

const VOLUMES: usize = 500;
const SKILLS: usize = 10;

fn skill(number: usize) -> Skill {
    let text = format!("{} ", number % SKILLS).repeat(500);
    Skill::new("counts", "Counts.").file("references/number.md", text, 0o644)
}

/// As many calls at a time as kubelet makes, and more.
async fn each(volumes: &[Volume], call: impl AsyncFn(&Volume)) {
    for some in volumes.chunks(20) {
        join_all(some.iter().map(async |volume| call(volume).await)).await;
    }
}

#[test]
fn five_hundred_volumes_are_known_before_the_socket_opens() {
    let name = "crowd::five_hundred_volumes_are_known_before_the_socket_opens";
    namespace::in_namespace(name, || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let root = namespace::scratch();
            let registry = Registry::start(Options::default());
            for number in 0..SKILLS {
                artifacts::skillimage(
                    &registry,
                    "team/counts",
                    &format!("v{number}"),
                    &skill(number),
                );
            }
            let volume = |number: usize| {
                let reference = registry.reference("team/counts", &format!("v{}", number % SKILLS));
                Volume::new(&root, &format!("csi-{number}"), &reference)
            };
            let volumes: Vec<_> = (0..VOLUMES).map(volume).collect();
            let publish = async |client: &Client| {
                each(&volumes, async |volume| client.publish(volume).await.unwrap()).await;
            };
            let node = Node::start(&root, &[]).await;
            publish(&node.client).await;
            node.kill().await;
            let mounted = checks::mounts(&root);
            assert_eq!(mounted.len(), VOLUMES);
            registry.stop().await;
            registry.clear();

            // Who hears an answer finds everything known: the next driver says so before it serves.
            let node = Node::start(&root, &[]).await;
            publish(&node.client).await;
            assert_eq!(checks::mounts(&root), mounted);
            for (number, volume) in volumes.iter().enumerate() {
                let skill = skill(number);
                assert_eq!(listing(&volume.target), skill.listing(), "{}", volume.id);
                let wanted = skill.files.into_iter().map(|(path, file)| (path, file.content));
                assert!(contents(&volume.target).into_iter().eq(wanted), "{}", volume.id);
            }
            let (status, log) = node.terminate().await;
            assert!(status.success(), "{log}");
            let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("no {text:?}:\n{log}"));
            let known = at("published=500 unmounted=0 unclear=0 half_made=0");
            assert!(known < at(" serving "), "{log}");

            let node = Node::start(&root, &[]).await;
            let client = &node.client;
            each(&volumes, async |volume| client.unpublish(volume).await.unwrap()).await;
            assert_eq!(checks::mounts(&root), []);
            assert_eq!(names(&root.join("state/volumes")), [""; 0]);
            for pod in names(&root.join("pods")) {
                assert_eq!(names(&root.join("pods").join(&pod)), [""; 0], "{pod}");
            }
            assert_eq!(registry.lines(), [""; 0]);
            node.terminate().await;
        });
    });
}
