//! One provider: its cache, its program, and that what many want at once is asked once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::Semaphore;

use super::answer::{self, Answer, AnswerError};
use super::cache::Cache;
use super::config::{CacheType, ProviderConfig};
use super::exec::{Exec, ExecError};
use super::workload::{AccountKey, Subject};
use crate::credentials::key;
use crate::observability::metrics::{Metrics, Provision};
use crate::reference::Repository;

/// Why a provider gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProviderError {
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// A defect of ours.
    #[error("it cannot be asked: {0}")]
    Internal(String),
}

type Outcome = Result<Arc<Answer>, ProviderError>;
type Question = Shared<BoxFuture<'static, Outcome>>;

/// One provider. Without `Debug`: its environment and its answers are secret.
pub(super) struct Provider {
    pub(super) config: ProviderConfig,
    exec: Exec,
    cache: Cache,
    /// Questions that are being asked, by image.
    questions: Table<Repository, WeakShared<BoxFuture<'static, Outcome>>>,
    /// Held while the first question about a registry is being asked.
    firsts: Table<String, Weak<tokio::sync::Mutex<()>>>,
    /// How many programs run at once, of all providers.
    slots: Arc<Semaphore>,
    metrics: Metrics,
}

/// What is going on, for each service account on its own.
type Table<K, V> = Mutex<HashMap<(K, Option<AccountKey>), V>>;

impl Provider {
    pub(super) fn new(
        config: ProviderConfig,
        exec: Exec,
        slots: Arc<Semaphore>,
        metrics: Metrics,
    ) -> Self {
        metrics.credential_provider(&config.name);
        Self {
            config,
            exec,
            cache: Cache::default(),
            questions: Table::default(),
            firsts: Table::default(),
            slots,
            metrics,
        }
    }

    /// What messages call it.
    pub(super) fn origin(&self) -> String {
        format!("credential provider {:?}", self.config.name)
    }

    /// Whether it is asked for a repository.
    pub(super) fn is_for(&self, repository: &Repository) -> bool {
        self.config.match_images.iter().any(|pattern| key::matches(pattern, repository))
    }

    /// Its answer for an image: a kept one, or that of the program.
    pub(super) async fn ask(self: &Arc<Self>, image: &Repository, subject: &Subject) -> Outcome {
        let account = subject.account().map(|account| account.key());
        let outcome = match self.cache.get(image, account.as_ref()) {
            Some(answer) => {
                self.metrics.provided(&self.config.name, Provision::Cached);
                return Ok(answer);
            }
            None => self.question(image, subject, account).await,
        };
        if let Err(error) = &outcome {
            let provider = &self.config.name;
            tracing::warn!(provider, %image, %error, "a credential provider failed");
        }
        outcome
    }

    /// The question that is being asked for this image, or a new one.
    fn question(
        self: &Arc<Self>,
        image: &Repository,
        subject: &Subject,
        account: Option<AccountKey>,
    ) -> Question {
        let place = (image.clone(), account.clone());
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        let running = questions.get(&place).and_then(WeakShared::upgrade);
        if let Some(question) = running {
            return question;
        }
        let (provider, image) = (self.clone(), image.clone());
        let token = subject.account().map(|found| (found.token.clone(), found.cache_type));
        let question = async move { provider.first(&image, token, account).await }.boxed().shared();
        questions.retain(|_, question| question.upgrade().is_some());
        questions.extend(question.downgrade().map(|weak| (place, weak)));
        question
    }

    /// Runs the program, unless the answer about another image of the registry, which is being
    /// waited for, will do: most providers answer for a whole registry, and pods come in crowds.
    async fn first(
        &self,
        image: &Repository,
        token: Option<(String, CacheType)>,
        account: Option<AccountKey>,
    ) -> Outcome {
        let first = entry(&self.firsts, (image.registry().to_owned(), account.clone()));
        let _held = match first.try_lock() {
            Ok(held) => Some(held),
            Err(_) => {
                drop(first.lock().await);
                None
            }
        };
        if let Some(answer) = self.cache.get(image, account.as_ref()) {
            self.metrics.provided(&self.config.name, Provision::Cached);
            return Ok(answer);
        }
        let outcome = self.run(image, token).await;
        let told = match &outcome {
            Ok(_) => Provision::Ok,
            Err(ProviderError::Exec(ExecError::Timeout(_))) => Provision::Timeout,
            Err(_) => Provision::Failed,
        };
        self.metrics.provided(&self.config.name, told);
        let answer = outcome?;
        self.cache.put(image, account, &answer, self.config.default_cache_duration);
        Ok(answer)
    }

    async fn run(&self, image: &Repository, token: Option<(String, CacheType)>) -> Outcome {
        let internal = |error: &dyn std::fmt::Display| ProviderError::Internal(error.to_string());
        let secret = token.as_ref().map(|(token, _)| token.as_str());
        let version = self.config.api_version;
        let request = answer::request(version, image, secret).map_err(|e| internal(&e))?;
        let _slot = self.slots.acquire().await.map_err(|e| internal(&e))?;
        let output = self.exec.run(&self.config.name, &request).await?;
        // A token lives shorter than what is kept for its service account.
        let forbidden = match &token {
            Some((token, CacheType::ServiceAccount)) => Some(token.as_str()),
            _ => None,
        };
        Ok(Arc::new(answer::parse(&output, version, &self.origin(), forbidden)?))
    }
}

fn entry<K: Hash + Eq>(
    table: &Table<K, Weak<tokio::sync::Mutex<()>>>,
    place: (K, Option<AccountKey>),
) -> Arc<tokio::sync::Mutex<()>> {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = table.get(&place).and_then(Weak::upgrade) {
        return found;
    }
    table.retain(|_, entry| entry.strong_count() > 0);
    let new = Arc::default();
    table.insert(place, Arc::downgrade(&new));
    new
}
