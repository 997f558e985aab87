//! One request, before it is sent: what, where, and what only that place may see.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use url::Url;

use super::auth::Authorization;
use super::hosts::Setup;

/// A request that may be sent several times.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) url: Url,
    /// `host[:port]`, for messages.
    pub(super) host: String,
    /// What this host is sent. No other is sent more of it than what it takes to answer.
    pub(super) headers: HeaderMap,
    /// The form of a POST. Without one it is a GET.
    pub(super) form: Option<String>,
    /// How the host of `url` is spoken to, and what else it is sent.
    pub(super) setup: Arc<Setup>,
    /// How often it is tried.
    pub(super) attempts: u32,
}

impl Ask {
    pub(super) fn header(mut self, name: reqwest::header::HeaderName, value: &str) -> Self {
        // All callers' values are visible ASCII.
        if let Ok(value) = value.parse() {
            self.headers.insert(name, value);
        }
        self
    }

    /// The same with a login.
    pub(super) fn with(mut self, authorization: &Authorization) -> Self {
        match authorization {
            Authorization::None => {}
            Authorization::Basic { username, password } => self.basic(username, password),
            Authorization::Bearer { token, .. } => self.authorize(format!("Bearer {token}")),
        }
        self
    }

    /// The login as it is sent: a password in base64 is as good as the password, and so is a token
    /// with percent signs.
    pub(super) fn login(&self) -> Option<&str> {
        if let Some(form) = &self.form {
            let fields = form.split('&').find_map(|field| field.strip_prefix("refresh_token="));
            return fields;
        }
        let value = self.headers.get(AUTHORIZATION)?.to_str().ok()?;
        value.split_once(' ').map(|(_, login)| login)
    }

    /// Adds a user name and a password.
    pub(super) fn basic(&mut self, username: &str, password: &str) {
        self.authorize(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))));
    }

    fn authorize(&mut self, value: String) {
        // What cannot be a header was refused where it came from.
        if let Ok(mut value) = HeaderValue::try_from(value) {
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
    }
}
