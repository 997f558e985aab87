//! Volumes of several skills, and the layouts.

use super::*;
use crate::support::skills::Skill;

/// A skill's listing below a directory of its name.
fn below(name: &str, skill: &Skill) -> Vec<String> {
    let mut lines = vec![format!("drwxr-xr-x {name}")];
    for line in skill.listing() {
        let (mode, path) = line.split_once(' ').unwrap();
        lines.push(format!("{mode} {name}/{path}"));
    }
    lines
}

async fn two() -> (Registry, Driver, String, String) {
    let (registry, driver) = start(Options::default()).await;
    artifacts::skillimage(&registry, "team/docs-writer", "v1", &skills::docs_writer());
    let review = registry.reference("team/code-review", "v1");
    let docs = registry.reference("team/docs-writer", "v1");
    artifacts::skillimage_bundle(
        &registry,
        "team/all",
        "v1",
        &[skills::code_review(), skills::docs_writer()],
    );
    artifacts::skillimage_collection(
        &registry,
        "team/list",
        "v1",
        &[("code-review", &review), ("docs-writer", &docs)],
    );
    (registry, driver, review, docs)
}

#[test]
fn the_attributes_choose_what_a_volume_shows() {
    run("several::the_attributes_choose_what_a_volume_shows", async {
        let (registry, driver, review, docs) = two().await;
        let (cr, dw) = (skills::code_review(), skills::docs_writer());
        let both = [below("code-review", &cr), below("docs-writer", &dw)].concat();
        let bundle = registry.reference("team/all", "v1");
        let list = registry.reference("team/list", "v1");
        let two = format!("\n  {review}\n  {docs}\n");
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Vec<String>);
        let cases: Vec<Case<'_>> = vec![
            (&review, &[], cr.listing()),
            (&review, &[("layout", "flat")], cr.listing()),
            (&review, &[("layout", "nested")], below("code-review", &cr)),
            (&review, &[("layout", "raw")], cr.listing()),
            (&review, &[("name", "review")], below("review", &cr)),
            (&review, &[("layout", "nested"), ("name", "review")], below("review", &cr)),
            (&two, &[], both.clone()),
            (&two, &[("layout", "nested")], both.clone()),
            (&two, &[("skills", "docs-writer")], below("docs-writer", &dw)),
            (&bundle, &[], both.clone()),
            (&bundle, &[("layout", "raw")], both.clone()),
            (&bundle, &[("skills", "code-review")], below("code-review", &cr)),
            (&bundle, &[("skills", "code-review"), ("layout", "flat")], cr.listing()),
            (&list, &[], both.clone()),
            (&list, &[("skills", "docs-writer")], below("docs-writer", &dw)),
        ];
        for (number, (reference, attributes, expected)) in cases.into_iter().enumerate() {
            let mut volume = driver.volume(&format!("csi-{number}"), reference);
            for (key, value) in attributes {
                volume = volume.attribute(key, value);
            }
            driver.publish(&volume).await.unwrap();
            assert_eq!(tree::listing(&volume.target), expected, "{reference} {attributes:?}");
            assert_eq!(mounts(&driver.root).len(), 1, "one mount, however many skills");
            driver.unpublish(&volume).await.unwrap();
        }
        assert_clean(&driver.root);
    });
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    run("several::what_does_not_fit_is_refused_by_name", async {
        let (registry, driver, review, docs) = two().await;
        artifacts::skillimage(&registry, "else/code-review", "v1", &skills::code_review());
        let twin = registry.reference("else/code-review", "v1");
        let bundle = registry.reference("team/all", "v1");
        let missing = registry.reference("team/none", "v1");
        let list = registry.reference("team/list", "v1");
        let two = format!("{review} {docs}");
        let clash = format!("{review} {docs} {twin}");
        let failing = format!("{review} {missing} {docs}");
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Code, String);
        let cases: Vec<Case<'_>> = vec![
            (
                &clash,
                &[],
                Code::InvalidArgument,
                format!(
                    "cannot lay out the volume: skill \"code-review\" comes from both {review} \
                     and {twin}: one volume has one of each name"
                ),
            ),
            (
                &two,
                &[("skills", "docs-writer, docs-reader")],
                Code::InvalidArgument,
                format!(
                    "cannot lay out the volume: there is no skill \"docs-reader\" in {review}, \
                     {docs} (it has: code-review, docs-writer)"
                ),
            ),
            (
                &bundle,
                &[("layout", "flat")],
                Code::InvalidArgument,
                format!(
                    "cannot lay out the volume: layout \"flat\" shows one skill, but {bundle} has \
                     2: code-review, docs-writer; use layout \"nested\", or name one of them in \
                     \"skills\""
                ),
            ),
            (
                &bundle,
                &[("name", "all")],
                Code::InvalidArgument,
                format!(
                    "cannot lay out the volume: attribute \"name\" names one skill, but {bundle} \
                     has 2: code-review, docs-writer"
                ),
            ),
            (
                &list,
                &[("layout", "raw")],
                Code::InvalidArgument,
                format!(
                    "cannot lay out the volume: layout \"raw\" shows one artifact as it is, but \
                     {list} is a collection of 2; use layout \"nested\""
                ),
            ),
            (
                &list,
                &[("skills", "nobody")],
                Code::InvalidArgument,
                format!(
                    "cannot pull {list}: the collection has no skill \"nobody\" (it has: \
                     code-review, docs-writer)"
                ),
            ),
            (
                &failing,
                &[],
                Code::NotFound,
                format!(
                    "cannot pull {missing}: resolving the reference: not found (404 Not Found: \
                     repository name not known to registry); if it is private, a pull secret \
                     (nodePublishSecretRef) needs an entry for \"{}\"",
                    registry.host()
                ),
            ),
        ];
        let mut wrong = vec![];
        for (number, (reference, attributes, code, expected)) in cases.into_iter().enumerate() {
            let mut volume = driver.volume(&format!("csi-{number}"), reference);
            for (key, value) in attributes {
                volume = volume.attribute(key, value);
            }
            let found = refused(driver.publish(&volume).await);
            if found != (code, expected.clone()) {
                wrong.push(format!("{found:?}\n  not {code:?} {expected}"));
            }
            assert_clean(&driver.root);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}
