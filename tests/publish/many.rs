//! A pod, or many of one namespace, that name thousands of references: nothing is kept for each.

use futures_util::StreamExt;
use futures_util::stream;

use super::*;

const REFERENCES: usize = 2000;

/// How many calls there are at a time.
const AT_ONCE: usize = 32;

/// Publishes a volume of each of the references, in one namespace, none of which is there.
async fn name_missing(registry: &Registry, driver: &Driver, numbers: std::ops::Range<usize>) {
    let calls = stream::iter(numbers).map(|number| {
        let reference = registry.reference(&format!("greedy/{number}"), &format!("v{number}"));
        let volume = driver
            .volume(&format!("csi-greedy-{number}"), &reference)
            .attribute("csi.storage.k8s.io/pod.namespace", "greedy");
        let client = driver.client();
        async move { refused(client.publish(&volume).await).0 }
    });
    let codes: Vec<_> = calls.buffer_unordered(AT_ONCE).collect().await;
    assert!(codes.iter().all(|code| *code == Code::NotFound), "{codes:?}");
}

/// What there is of what could grow: series of metrics, files of the store, tasks, descriptors.
fn kept(driver: &Driver) -> [usize; 4] {
    let files = ["manifests", "references", "grants", "volumes", "trees", "staging", "quarantine"];
    let files = files.map(|directory| names(&driver.root.join("state").join(directory)).len());
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    [driver.series("").len(), files.iter().sum(), tasks, descriptors]
}

#[test]
fn thousands_of_references_leave_nothing_behind() {
    run("many::thousands_of_references_leave_nothing_behind", async {
        let (registry, driver) = start(Options::default()).await;
        // What tables with a bound and pools of connections take is taken by these.
        name_missing(&registry, &driver, 0..100).await;
        let before = kept(&driver);
        name_missing(&registry, &driver, 100..REFERENCES).await;
        let after = kept(&driver);
        let [series, files, ..] = before;
        assert_eq!(after[..2], [series, files]);
        // A connection or a task more or less is chance.
        for (before, after) in before.into_iter().zip(after) {
            assert!(after <= before + AT_ONCE, "{before} {after}");
        }
        assert_eq!(registry.count("GET", "/v2/greedy/"), REFERENCES);
        let volume = driver
            .volume("csi-modest", &registry.reference("team/code-review", "v1"))
            .attribute("csi.storage.k8s.io/pod.namespace", "modest");
        driver.publish(&volume).await.unwrap();
        assert_eq!(tree::listing(&volume.target), skills::code_review().listing());
        driver.unpublish(&volume).await.unwrap();
    });
}
