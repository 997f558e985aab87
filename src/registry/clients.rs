//! The HTTP clients: one for each way of speaking TLS, each with its connections.
//!
//! They are shared by all credentials: `Authorization` belongs to a request, and connections have
//! no identity of their own, but for that of a client certificate, which is part of the way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use tokio::sync::OnceCell;

use super::RegistryConfig;
use super::error::{Cause, RegistrySetupError};
use super::hosts::{Setup, Tls};
use super::tls::Trust;

/// How many clients are kept besides the usual two.
const MAX_CLIENTS: usize = 32;

/// How much of a blob an HTTP/2 server may send ahead of its reader, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;

/// And of all blobs on one connection. It is no limit: blobs wait for each other, and with one
/// those that wait could use it up, so that the one they wait for never came.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// What a client cannot change later.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    tls: Tls,
    connect_timeout: Duration,
    /// Without a proxy.
    direct: bool,
}

/// All clients. Each is made when it is needed first.
#[derive(Debug)]
pub(super) struct Clients {
    trust: Trust,
    connect_timeout: Duration,
    read_timeout: Duration,
    user_agent: &'static str,
    usual: OnceCell<Client>,
    /// For this machine, which no proxy reaches.
    direct: OnceCell<Client>,
    /// The latest used last.
    others: Mutex<VecDeque<(Way, Client)>>,
}

impl Clients {
    /// Trusts `authorities`, in DER, for all hosts, besides the system's.
    pub(super) fn new(
        config: &RegistryConfig,
        authorities: Vec<Vec<u8>>,
    ) -> Result<Arc<Self>, RegistrySetupError> {
        let trust = Trust::new(authorities)
            .map_err(|error| RegistrySetupError::Client { source: Cause::of(&error) })?;
        Ok(Arc::new(Self {
            trust,
            connect_timeout: config.connect_timeout,
            read_timeout: config.read_timeout,
            user_agent: config.user_agent,
            usual: OnceCell::new(),
            direct: OnceCell::new(),
            others: Mutex::default(),
        }))
    }

    /// The client for a host with this setup; `direct` if it is this machine.
    pub(super) async fn get(
        self: &Arc<Self>,
        setup: &Setup,
        direct: bool,
    ) -> Result<Client, Cause> {
        let connect_timeout = setup.dial_timeout.unwrap_or(self.connect_timeout);
        let way = Way { tls: setup.tls.clone(), connect_timeout, direct };
        if way.tls == Tls::default() && connect_timeout == self.connect_timeout {
            let usual = if direct { &self.direct } else { &self.usual };
            return usual.get_or_try_init(|| self.make(way)).await.cloned();
        }
        if let Some(known) = self.known(&way) {
            return Ok(known);
        }
        let made = self.make(way.clone()).await?;
        // Another call may have made it meanwhile, and has its connections.
        if let Some(known) = self.known(&way) {
            return Ok(known);
        }
        let mut others = self.others();
        if others.len() >= MAX_CLIENTS {
            others.pop_front();
        }
        others.push_back((way, made.clone()));
        Ok(made)
    }

    /// Reads the system's certificates if this is the first.
    async fn make(self: &Arc<Self>, way: Way) -> Result<Client, Cause> {
        let clients = self.clone();
        let making = tokio::task::spawn_blocking(move || clients.build(&way));
        making.await.unwrap_or_else(|error| Err(Cause::of(&error)))
    }

    fn build(&self, way: &Way) -> Result<Client, Cause> {
        let tls = self.trust.config(&way.tls).map_err(|error| Cause::of(&error))?;
        let mut builder = Client::builder()
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .connect_timeout(way.connect_timeout)
            .read_timeout(self.read_timeout)
            // They are followed by hand: see `redirect`.
            .redirect(Policy::none())
            .referer(false)
            .tls_backend_preconfigured(tls)
            .user_agent(self.user_agent);
        if way.direct {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|error| Cause::of(&error))
    }

    fn known(&self, way: &Way) -> Option<Client> {
        let mut others = self.others();
        let index = others.iter().position(|(known, _)| known == way)?;
        let found = others.remove(index)?;
        let client = found.1.clone();
        others.push_back(found);
        Some(client)
    }

    fn others(&self) -> MutexGuard<'_, VecDeque<(Way, Client)>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many clients there are besides the usual two.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.others().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn clients_are_made_once_and_bounded() {
        super::super::install_crypto_provider();
        let clients = Clients::new(&RegistryConfig::default(), vec![]).unwrap();
        let setup = |seconds: u64| Setup {
            dial_timeout: Some(Duration::from_secs(seconds)),
            ..Setup::default()
        };
        clients.get(&Setup::default(), true).await.unwrap();
        clients.get(&setup(10), false).await.unwrap();
        assert_eq!(clients.count(), 0, "the usual ones do");
        for _ in 0..2 {
            clients.get(&setup(1), false).await.unwrap();
        }
        assert_eq!(clients.count(), 1);
        clients.get(&setup(1), true).await.unwrap();
        assert_eq!(clients.count(), 2);
        for seconds in 11..60 {
            clients.get(&setup(seconds), false).await.unwrap();
        }
        assert_eq!(clients.count(), MAX_CLIENTS);
    }
}
