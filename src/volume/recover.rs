//! What a dead driver left: half-made volumes are undone, whole ones are known again.

use std::io;

use super::Volumes;
use crate::mount::{Mount, Mounter, SOURCE};
use crate::observability::chain;
use crate::store::{FileError, MountIdentity, Record, RecordState, Store};

/// What was found at start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Volumes that are published and mounted.
    pub published: usize,
    /// Volumes that were published but are not mounted any more: the node has rebooted, or
    /// somebody unmounted them. Kubelet publishes them again, or unpublishes them.
    pub unmounted: usize,
    /// Volumes that were published and of which the kernel does not say whether they still are.
    /// Their next call asks again.
    pub unclear: usize,
    /// Publishes that did not come to their end, undone now.
    pub half_made: usize,
    /// Volumes of an earlier boot that kubelet does not know any more, forgotten now.
    pub forgotten: usize,
}

/// Why recovery failed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The records cannot be listed.
    #[error("cannot list the records of volumes")]
    Records(#[from] FileError),
}

/// Keeps the trees that are mounted without a record: it was unreadable, and lies in quarantine.
/// The mount table is text, and all that it has to hold is the tree's path.
pub fn keep_mounted(store: &Store, mounter: &dyn Mounter) {
    let pin_all = || store.trees().iter().for_each(|tree| _ = store.pin(&tree.key));
    let mounts = match mounter.mounts() {
        Ok(mounts) => mounts,
        Err(error) => {
            let error = chain(&error);
            tracing::warn!(error, "cannot read the mounts: the trees of now are not collected");
            return pin_all();
        }
    };
    // Lower directories by number, as the classic call names many of them: of which trees they are
    // does not show.
    let is_unclear = |mount: &Mount| {
        mount.source == SOURCE
            && mount.super_options.contains("lowerdir")
            && !mount.super_options.contains("/trees/")
    };
    if mounts.iter().any(is_unclear) {
        return pin_all();
    }
    for mount in mounts {
        let root = mount.root.to_string_lossy();
        for text in [mount.super_options.as_str(), &root] {
            for key in text.split("/trees/").skip(1).filter_map(|rest| rest.get(..64)) {
                if store.pin(key) {
                    let at = mount.mount_point.display();
                    tracing::warn!(tree = key, %at, "a tree is mounted without a record");
                }
            }
        }
    }
}

impl Volumes {
    /// Decides about every record, before the first call is served. A publish that did not end
    /// was never answered with `OK`, so no container has seen it: it is undone. Of a volume that
    /// nobody will unpublish the record goes: it would keep its trees for ever.
    pub fn recover(&self) -> Result<Recovered, RecoverError> {
        let mut found = Recovered::default();
        for record in self.store.records()? {
            match record.state {
                RecordState::Published => match self.is_mounted(&record) {
                    Ok(true) => found.published += 1,
                    Ok(false) if self.is_abandoned(&record) => match self.forget(&record) {
                        true => found.forgotten += 1,
                        false => found.unmounted += 1,
                    },
                    Ok(false) => found.unmounted += 1,
                    Err(error) => {
                        found.unclear += 1;
                        let (volume_id, error) = (record.volume_id, chain(&error));
                        tracing::warn!(volume_id, error, "cannot tell whether it is mounted");
                    }
                },
                RecordState::Publishing => {
                    found.half_made += 1;
                    let undone = self.clear(&record.target);
                    let outcome = undone.map_err(|error| chain(&error));
                    let outcome = outcome.and_then(|()| {
                        self.store.remove_record(&record.volume_id).map_err(|error| chain(&error))
                    });
                    if let Err(error) = outcome {
                        // One volume's trouble is not the node's: its next call meets it again.
                        tracing::warn!(
                            volume_id = record.volume_id,
                            error,
                            "cannot undo a half-made volume"
                        );
                    }
                }
            }
        }
        // Last, since it also keeps what a record that has gone now may still show somewhere.
        keep_mounted(&self.store, &*self.mounter);
        Ok(found)
    }

    /// Whether the record is gone.
    fn forget(&self, record: &Record) -> bool {
        let volume_id = &record.volume_id;
        match self.store.remove_record(volume_id) {
            Ok(()) => {
                let target = record.target.display();
                tracing::info!(volume_id, %target, "forgot a volume that kubelet has forgotten");
                true
            }
            Err(error) => {
                tracing::warn!(volume_id, error = chain(&error), "cannot forget a volume");
                false
            }
        }
    }

    /// Whether nobody shows the volume and no call for it will come. What an earlier boot has
    /// mounted is gone, in containers too. Kubelet keeps what it knows of a volume
    /// (`vol_data.json`) beside the target, and removes that only after an unpublish that
    /// succeeded: where it is, or may be, one is still to come.
    fn is_abandoned(&self, record: &Record) -> bool {
        let is_of_now = |mount: &MountIdentity| *mount.boot_id == *self.store.boot_id();
        if record.mount.as_ref().is_none_or(is_of_now) {
            return false;
        }
        let beside = record.target.parent().map(|parent| parent.symlink_metadata());
        beside.is_some_and(|found| found.is_err_and(|e| e.kind() == io::ErrorKind::NotFound))
    }
}
