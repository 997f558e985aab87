//! What stored documents lead to, worked out once: the key of a tree, and what is odd about the
//! manifest. It follows from the documents' bytes, which their digests name, and from what a pull was
//! asked for; whether the caller may have it does not, and is not here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::PullOptions;
use crate::reference::Digest;
use crate::stamp::Stamp;
use crate::store::Store;

/// How many are remembered: the artifacts of a node's pods, several times over.
const MOST: usize = 1024;

/// The longest list of findings that is remembered, in bytes. An artifact decides how many it has.
const MAX_FINDINGS: usize = 4 << 10;

/// The most documents of one plan that are remembered, each of which is looked at again. An index
/// decides how many children are compared; mostly it is a manifest, its config and an index.
const MAX_DOCUMENTS: usize = 16;

/// What is asked: of which manifest or index, in a repository with which last name, under which
/// options.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) digest: Digest,
    pub(super) name: String,
    pub(super) options: PullOptions,
}

/// The one tree that a manifest, or an index that is no collection, stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// The tree's key.
    pub(super) key: String,
    /// What is odd about the manifest and its config.
    pub(super) findings: Vec<String>,
    /// What was read for that.
    pub(super) documents: Vec<(Digest, Stamp)>,
}

/// What was worked out so far.
#[derive(Debug, Default)]
pub(super) struct Plans(Mutex<HashMap<Asked, Arc<Planned>>>);

impl Plans {
    /// What was worked out before, if the store still has all that it was worked out from: what it
    /// has not is to be asked for again.
    pub(super) fn get(&self, store: &Store, asked: &Asked) -> Option<Arc<Planned>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(asked).cloned()?;
        let is_there = |(digest, stamp): &(Digest, Stamp)| store.has_read(digest, stamp);
        known.documents.iter().all(is_there).then_some(known)
    }

    /// Remembers what was worked out.
    pub(super) fn put(&self, asked: Asked, planned: Planned) -> Arc<Planned> {
        let planned = Arc::new(planned);
        let findings: usize = planned.findings.iter().map(String::len).sum();
        if findings <= MAX_FINDINGS && planned.documents.len() <= MAX_DOCUMENTS {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MOST {
                known.clear();
            }
            known.insert(asked, planned.clone());
        }
        planned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_worked_out_holds_while_its_documents_are_there() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let plans = Plans::default();
        let body = b"{}";
        let digest = Digest::sha256(body);
        store.put_manifest(&digest, body).unwrap();
        let (_, stamp) = store.read_manifest(&digest).unwrap();
        let options = PullOptions::default();
        let asked = Asked { digest: digest.clone(), name: "skill".into(), options };
        let planned = |findings| {
            let documents = vec![(digest.clone(), stamp.clone())];
            Planned { key: "key".into(), findings, documents }
        };
        assert_eq!(plans.get(&store, &asked), None);
        // What is too long is worked out each time.
        plans.put(asked.clone(), planned(vec!["x".repeat(MAX_FINDINGS + 1)]));
        assert_eq!(plans.get(&store, &asked), None);
        let many = vec![(digest.clone(), stamp.clone()); MAX_DOCUMENTS + 1];
        plans.put(asked.clone(), Planned { documents: many, ..planned(vec![]) });
        assert_eq!(plans.get(&store, &asked), None);
        plans.put(asked.clone(), planned(vec!["odd".into()]));
        assert_eq!(plans.get(&store, &asked).unwrap().findings, ["odd"]);
        let raw = PullOptions { raw: true, ..PullOptions::default() };
        assert_eq!(plans.get(&store, &Asked { options: raw, ..asked.clone() }), None);
        assert_eq!(plans.get(&store, &Asked { name: "other".into(), ..asked.clone() }), None);
        for entry in std::fs::read_dir(root.path().join("manifests")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        assert_eq!(plans.get(&store, &asked), None);
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let plans = Plans::default();
        for number in 0..=MOST {
            let digest = Digest::sha256(&number.to_be_bytes());
            let (name, options) = (String::new(), PullOptions::default());
            let planned = Planned { key: String::new(), findings: vec![], documents: vec![] };
            plans.put(Asked { digest, name, options }, planned);
            assert!(plans.0.lock().unwrap().len() <= MOST);
        }
    }
}
