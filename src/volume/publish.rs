//! Publish: from a typed request to read-only files at the target.

mod error;

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::time::Instant;

use super::compose::{Composition, compose};
use super::secrets::Found;
use super::{ClearError, Late, Patience, PublishRequest, Volumes};
use crate::mount::MountOptions;
use crate::observability::metrics::Phase;
use crate::observability::{task, trace};
use crate::pull::{
    Blame, PullError, PullFlight, PullPolicy, PullRequest, Pulled, Source, Tenant, diagnosis,
};
use crate::reference::Reference;
use crate::store::{
    self, MountIdentity, RECORD_VERSION, Record, RecordState, RecordedReference, Seal,
};

pub use error::PublishError;

/// How many warnings of one volume are logged and recorded.
pub(super) const MAX_WARNINGS: usize = 100;

/// What a publish did, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Whether it was published before, so that nothing was done.
    pub already: bool,
    /// What each reference resolved to.
    pub digests: Vec<String>,
    /// The skills that the volume shows.
    pub skills: Vec<String>,
    /// Whether everything was served from the store.
    pub local: bool,
}

/// How far a publish came without the network.
enum Begun {
    /// To its end.
    Published(Published),
    /// This has to be pulled.
    Missing(Vec<PullRequest>),
}

impl Volumes {
    /// Publishes a volume, or finds it published. Returns `InProgress` shortly before `deadline`
    /// while a pull goes on; a retry joins that pull. `Stopping` or `StoppedPull` when the driver
    /// [gives up](Self::give_up).
    ///
    /// May be dropped, as gRPC does with a call whose caller has gone: what has begun runs to its end.
    pub async fn publish(
        self: Arc<Self>,
        request: PublishRequest,
        deadline: Instant,
    ) -> Result<Published, PublishError> {
        let held = self
            .guard
            .take(&request.volume_id)
            .ok_or_else(|| PublishError::Busy(request.volume_id.clone()))?;
        let patience = Patience::new(deadline, self.given_up.subscribe());
        let begun = self.blocking(&patience, move |volumes| {
            // Nobody else works on the volume until this has ended.
            let begun = volumes.begin(&request);
            (begun, request, held)
        });
        let (begun, request, held) = begun.await?;
        let begun = match begun? {
            Some(Begun::Published(published)) => return Ok(published),
            Some(Begun::Missing(pulls)) => Some(pulls),
            None => None,
        };
        let fetching = task::spawn(async move {
            let _held = held;
            self.fetch(Arc::new(request), begun, patience).await
        });
        fetching.await.map_err(|error| PublishError::Panicked(error.to_string()))?
    }

    /// What [`begin`](Self::begin) has left of a publish.
    async fn fetch(
        self: Arc<Self>,
        request: Arc<PublishRequest>,
        begun: Option<Vec<PullRequest>>,
        patience: Patience,
    ) -> Result<Published, PublishError> {
        let pulls = match begun {
            Some(pulls) => pulls,
            None => {
                let found = self.pod_logins(&request, patience.deadline());
                let found = patience.unless_stopping(found).await.ok_or(PublishError::Stopping)?;
                let (asked, found) = (request.clone(), found?);
                let served = self.blocking(&patience, move |volumes| volumes.serve(&asked, found));
                match served.await?? {
                    Begun::Published(published) => return Ok(published),
                    Begun::Missing(pulls) => pulls,
                }
            }
        };
        let pulled = self.pull_all(&request, pulls, &patience).await?;
        self.blocking(&patience, move |volumes| volumes.finish(&request, &pulled)).await?
    }

    /// All of a publish that needs no network; nothing, if the pod's Secrets have to be read first.
    /// Of a volume that is stored it is the whole: each change of threads would cost as much as
    /// the mount.
    fn begin(&self, request: &PublishRequest) -> Result<Option<Begun>, PublishError> {
        // Nothing but the kernel and the record: this must hold with the registry down, the
        // Secret gone and the tag moved, since kubelet asks again after each of its restarts.
        if let Some(published) = self.already(request)? {
            return Ok(Some(Begun::Published(published)));
        }
        self.unmount_leftovers(&request.target)?;
        if request.attributes.seal == Seal::Bind && !request.read_only {
            return Err(PublishError::BindNeedsReadOnly);
        }
        match self.asks_for_secrets() {
            true => Ok(None),
            false => self.serve(request, Found::default()).map(Some),
        }
    }

    /// Publishes what is stored, for who may have it.
    fn serve(&self, request: &PublishRequest, found: Found) -> Result<Begun, PublishError> {
        let pulls = self.pulls(request, found)?;
        match self.puller.stored(&pulls) {
            Some(pulled) => {
                if let Some(telling) = self.telling(request) {
                    pulled.iter().for_each(|pulled| telling.arrived(pulled, None));
                }
                Ok(Begun::Published(self.finish(request, &pulled)?))
            }
            None => Ok(Begun::Missing(pulls)),
        }
    }

    /// What the volume asks for, with what it may log in with.
    fn pulls(
        &self,
        request: &PublishRequest,
        found: Found,
    ) -> Result<Vec<PullRequest>, PublishError> {
        let logins = Arc::new(self.logins(request, found)?);
        let tenant = Tenant::from(request.pod.namespace.as_str());
        let attributes = &request.attributes;
        let pull = |reference: &Reference| PullRequest {
            source: reference.clone().into(),
            policy: attributes.pull_policy.unwrap_or_else(|| PullPolicy::default_for(reference)),
            options: attributes.pull_options(),
            logins: logins.clone(),
            tenant: tenant.clone(),
        };
        Ok(attributes.references.iter().map(pull).collect())
    }

    /// Lays out and mounts what was pulled.
    fn finish(
        &self,
        request: &PublishRequest,
        pulled: &[Arc<Pulled>],
    ) -> Result<Published, PublishError> {
        let composition = compose(&request.attributes, pulled)?;
        for (reference, warning) in warnings(pulled) {
            tracing::warn!(volume_id = request.volume_id, %reference, warning, "skill");
        }
        let start = Instant::now();
        let mount = || self.mount(request, pulled, &composition);
        let published = trace::phase(Phase::Mount).in_scope(mount)?;
        self.puller.metrics().phase(Phase::Mount, start.elapsed());
        if let Some(telling) = self.telling(request) {
            pulled.iter().for_each(|pulled| telling.odd(pulled));
        }
        Ok(published)
    }

    /// What an earlier, unfinished publish left here was never seen by a container. It goes before
    /// anything can fail with a final code.
    fn unmount_leftovers(&self, target: &Path) -> Result<(), PublishError> {
        self.mounter.unmount(target).map(drop).map_err(|source| {
            PublishError::Occupied(ClearError::Unmount { target: target.into(), source })
        })
    }

    /// The volume as it stands, if it is published; an error if it is published as another.
    fn already(&self, request: &PublishRequest) -> Result<Option<Published>, PublishError> {
        let record = self.store.record(&request.volume_id).map_err(PublishError::Forgotten)?;
        let Some(record) = record else { return Ok(None) };
        if record.state != RecordState::Published {
            return Ok(None);
        }
        let mounted = self
            .is_mounted(&record)
            .map_err(|source| PublishError::Unknown { target: record.target.clone(), source })?;
        if !mounted {
            return Ok(None);
        }
        if record.target != request.target {
            return Err(PublishError::Elsewhere {
                volume_id: request.volume_id.clone(),
                target: record.target,
                asked: request.target.clone(),
            });
        }
        if self.is_hollow(&record) {
            return Ok(None);
        }
        let asked: Vec<_> = request.attributes.references.iter().map(ToString::to_string).collect();
        let recorded: Vec<_> = record.references.iter().map(|r| r.reference.to_string()).collect();
        let difference = if record.read_only != request.read_only {
            format!("with readOnly: {}, not {}", record.read_only, request.read_only)
        } else if recorded != asked {
            format!("with {}, not {}", recorded.join(", "), asked.join(", "))
        } else {
            return Ok(Some(Published {
                already: true,
                digests: record.references.iter().map(|r| r.digest.to_string()).collect(),
                skills: record.skills,
                local: true,
            }));
        };
        Err(PublishError::Incompatible {
            volume_id: request.volume_id.clone(),
            target: record.target,
            difference,
        })
    }

    /// All pulls of the volume, side by side; the first failure is the volume's.
    async fn pull_all(
        &self,
        request: &PublishRequest,
        pulls: Vec<PullRequest>,
        patience: &Patience,
    ) -> Result<Vec<Arc<Pulled>>, PublishError> {
        let start = |pull: PullRequest| (pull.clone(), self.puller.pull(pull));
        let flights: Vec<_> = pulls.into_iter().map(start).collect();
        let telling = self.telling(request);
        let waits = flights.into_iter().map(async |(pull, flight)| match &telling {
            None => wait(pull, flight, patience).await,
            Some(telling) => {
                let (source, progress) = (pull.source.clone(), flight.progress.clone());
                telling.follow(&source, progress, wait(pull, flight, patience)).await
            }
        });
        futures_util::future::try_join_all(waits).await
    }

    /// Mounts what was pulled and remembers it; undoes all of it if any step fails.
    fn mount(
        &self,
        request: &PublishRequest,
        pulled: &[Arc<Pulled>],
        composition: &Composition,
    ) -> Result<Published, PublishError> {
        let record = record(request, pulled, composition);
        make_target(&request.target)?;
        let outcome = self.store.put_record(&record).map_err(PublishError::from).and_then(|file| {
            let seal = self.attach(request, composition)?;
            let (dev, ino) =
                crate::mount::identity(&request.target).map_err(PublishError::State)?;
            let mount = MountIdentity { boot_id: self.store.boot_id().to_owned(), dev, ino };
            Ok(file.put_mounted(seal, &mount)?)
        });
        if let Err(error) = outcome {
            return Err(self.undo(request, error));
        }
        Ok(Published {
            already: false,
            digests: pulled.iter().map(|p| p.digest.to_string()).collect(),
            skills: composition.skills.clone(),
            local: pulled.iter().all(|p| p.local),
        })
    }

    /// Seals the directories at the target, or binds the only one where that was asked for or
    /// the kernel leaves no choice. Returns which it was.
    fn attach(
        &self,
        request: &PublishRequest,
        composition: &Composition,
    ) -> Result<Seal, PublishError> {
        let options = MountOptions { noexec: request.attributes.noexec };
        if request.attributes.seal == Seal::Overlay {
            // An overlay without an upper directory needs two lower ones: the last is empty.
            let mut lowers = composition.directories.clone();
            lowers.push(self.store.empty().to_owned());
            match self.mounter.seal(&lowers, &request.target, options) {
                Ok(()) => return Ok(Seal::Overlay),
                Err(error) if !error.is_overlay_refused() => {
                    return Err(PublishError::Mount(error));
                }
                Err(error) if !request.read_only => return Err(PublishError::Unsealable(error)),
                Err(source) if composition.directories.len() > 1 => {
                    let count = composition.directories.len();
                    return Err(PublishError::UnsealableMany { count, source });
                }
                Err(error) => tracing::warn!(
                    volume_id = request.volume_id,
                    %error,
                    "this kernel refuses a sealed mount: a plain read-only bind mount is used"
                ),
            }
        }
        let [directory] = composition.directories.as_slice() else {
            return Err(PublishError::BindOfMany(composition.directories.len()));
        };
        self.mounter.bind(directory, &request.target, options).map_err(PublishError::Mount)?;
        Ok(Seal::Bind)
    }

    /// A final code must leave no mount behind, since kubelet may never call Unpublish after
    /// one. Where undoing fails too, the error becomes one with a non-final code.
    fn undo(&self, request: &PublishRequest, error: PublishError) -> PublishError {
        if let Err(source) = self.clear(&request.target) {
            return PublishError::NotUndone { failed: crate::observability::chain(&error), source };
        }
        if let Err(error) = self.store.remove_record(&request.volume_id) {
            // Harmless: it says `Publishing`, and the next publish or unpublish replaces it.
            let error = crate::observability::chain(&error);
            tracing::warn!(volume_id = request.volume_id, error, "cannot remove a record");
        }
        error
    }
}

async fn wait(
    request: PullRequest,
    mut flight: PullFlight,
    patience: &Patience,
) -> Result<Arc<Pulled>, PublishError> {
    let reference = request.source;
    match patience.within(flight.wait()).await {
        Ok(Ok(pulled)) => Ok(pulled),
        Ok(Err(failed)) => {
            let note = |error| diagnosis(error, &request.logins);
            let refused = matches!(
                failed.blame(),
                Blame::Unauthenticated | Blame::Forbidden | Blame::NotFound
            );
            if let Some(unread) = request.logins.unread().filter(|_| refused) {
                let note = note(&failed).unwrap_or_else(|| format!(" (logins: {unread})"));
                return Err(PublishError::Unread { reference, note, source: failed });
            }
            Err(match &*failed {
                PullError::BackOff(last) => {
                    let (note, source) = (note(last), last.clone());
                    PublishError::BackOff { reference, note, source }
                }
                error => PublishError::Pull { note: note(error), reference, source: failed },
            })
        }
        Err(late) => {
            let progress = flight.progress.to_string();
            Err(match late {
                Late::Deadline => PublishError::InProgress { reference, progress },
                Late::Stopping => PublishError::StoppedPull { reference, progress },
            })
        }
    }
}

/// What is odd about what was pulled, and where.
fn warnings(pulled: &[Arc<Pulled>]) -> impl Iterator<Item = (&Source, &String)> {
    let all = pulled.iter().flat_map(|p| p.warnings().map(|warning| (&p.source, warning)));
    all.take(MAX_WARNINGS)
}

fn record(request: &PublishRequest, pulled: &[Arc<Pulled>], composition: &Composition) -> Record {
    let recorded = |p: &Arc<Pulled>| {
        let reference = p.source.reference()?.clone();
        Some(RecordedReference { reference, digest: p.digest.clone() })
    };
    Record {
        version: RECORD_VERSION,
        volume_id: request.volume_id.clone(),
        target: request.target.clone(),
        state: RecordState::Publishing,
        references: pulled.iter().filter_map(recorded).collect(),
        trees: composition.trees.clone(),
        skills: composition.skills.clone(),
        totals: composition.totals,
        seal: request.attributes.seal,
        read_only: request.read_only,
        mount: None,
        pod: request.pod.clone(),
        published_at: store::now(),
        warnings: warnings(pulled).map(|(source, text)| format!("{source}: {text}")).collect(),
        damaged: None,
    }
}

/// Kubelet makes the parent and leaves the last component to the driver
/// (kubernetes/kubernetes#88759). A link there is not followed.
fn make_target(target: &Path) -> Result<(), PublishError> {
    let failed = |source| PublishError::Target { target: target.into(), source };
    match std::fs::create_dir(target) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match std::fs::symlink_metadata(target).map_err(failed)?.is_dir() {
                true => Ok(()),
                false => Err(failed(error)),
            }
        }
        Err(error) => Err(failed(error)),
    }
}
