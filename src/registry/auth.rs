//! From a challenge and a credential to what goes into `Authorization`.
//!
//! A password or a refresh token leaves this machine in two places only: to the registry that
//! the credential is for, when it asks for Basic, and to the token service that this registry
//! names, if `check_realm` finds that nobody can listen in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::address::{authority, host_name};
use super::answer::Answer;
use super::ask::Ask;
use super::challenge::Challenge;
use super::error::{RegistryError, Target};
use super::host::Api;
use super::http::Transport;
use crate::credentials::{Credential, Login};

/// The longest answer of a token service, in bytes.
const TOKEN_BYTES: u64 = 1 << 20;

/// How long a token lasts that does not say so (distribution, token authentication).
const DEFAULT_LIFETIME: u64 = 60;

/// No token is kept for longer, whatever it says.
const MAX_LIFETIME: u64 = 24 * 60 * 60;

/// The name under which this client asks for tokens.
const CLIENT_ID: &str = "skillmount";

/// What is presented with each request to a registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Authorization {
    /// Nothing.
    None,
    /// A user name and a password.
    Basic { username: String, password: String },
    /// A token, and when to get a new one.
    Bearer { token: String, renew_at: Option<Instant> },
}

impl Authorization {
    /// What of it nobody may see.
    pub(super) fn secret(&self) -> &str {
        match self {
            Self::None => "",
            Self::Basic { password, .. } => password,
            Self::Bearer { token, .. } => token,
        }
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(…)",
            Self::Bearer { .. } => "Bearer(…)",
        })
    }
}

impl Authorization {
    /// Whether a new token is due.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Self::Bearer { renew_at: Some(at), .. } if *at <= Instant::now())
    }
}

/// Why there is no authorization.
#[derive(Debug)]
pub(super) enum AuthError {
    /// This credential will not do; another one may.
    Refused(Answer),
    /// No credential will do, or not now.
    Failed(RegistryError),
}

impl From<RegistryError> for AuthError {
    fn from(error: RegistryError) -> Self {
        Self::Failed(error)
    }
}

/// Where a token is wanted from, and for what.
pub(super) struct Authenticator<'a> {
    pub(super) transport: &'a Transport,
    pub(super) api: &'a Api,
    pub(super) target: &'a Arc<Target>,
    /// Hosts that the administrator allows without TLS.
    pub(super) plain_http: &'a [String],
}

impl Authenticator<'_> {
    /// What to present in answer to `challenge`. For a token this asks the token service.
    pub(super) async fn authorize(
        &self,
        challenge: Option<&Challenge>,
        credential: Option<&Credential>,
    ) -> Result<Authorization, AuthError> {
        let login = credential.map(|credential| &credential.login);
        if let Some(Login::Bearer(token)) = login {
            return match is_token(token) {
                true => Ok(Authorization::Bearer { token: token.clone(), renew_at: None }),
                false => Err(unusable("not sent: it has characters that no token may have")),
            };
        }
        match (challenge, login) {
            (Some(Challenge::Bearer { realm, service, scope }), _) => {
                let service = service.as_deref();
                let scope =
                    scope_for(self.api.path(), self.target.repository.path(), scope.as_deref());
                self.token(realm, service, &scope, login).await
            }
            (Some(Challenge::Basic), Some(Login::Basic { username, password })) => {
                Ok(Authorization::Basic { username: username.clone(), password: password.clone() })
            }
            (Some(Challenge::Basic), Some(_)) => Err(unusable(
                "not sent: it is an identity token, and the registry wants a user name and a password",
            )),
            (None, Some(_)) => Err(unusable("not sent: the registry does not say how to log in")),
            (_, None) => Ok(Authorization::None),
        }
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        login: Option<&Login>,
    ) -> Result<Authorization, AuthError> {
        let url = self.check_realm(realm)?;
        let host = authority(&url);
        let secrets: Vec<_> = login.into_iter().map(Login::secret).collect();
        let ask = token_request(self.api.service(url, &host), service, scope, login);
        let reply = self.transport.exchange(self.target, &ask, TOKEN_BYTES, &secrets).await?;
        let problem = |problem: &str| {
            AuthError::Failed(RegistryError::Protocol {
                target: self.target.clone(),
                host: host.clone(),
                problem: problem.into(),
            })
        };
        let reply = reply.ok_or_else(|| problem("sends more than 1 MiB instead of a token"))?;
        if reply.status != StatusCode::OK {
            if !reply.status.is_client_error() {
                return Err(problem(&format!(
                    "answers a request for a token with {}",
                    reply.status
                )));
            }
            let from = (host != self.api.host()).then(|| host.clone());
            return Err(AuthError::Refused(reply.answer(from)));
        }
        let token: Token = serde_json::from_slice(&reply.body)
            .map_err(|_| problem("sends something else than a token in JSON"))?;
        let (lifetime, token) = (token.lifetime(), token.value());
        let token = token.ok_or_else(|| problem("sends no token"))?;
        if !is_token(&token) {
            return Err(problem("sends a token with characters that no token may have"));
        }
        Ok(Authorization::Bearer { token, renew_at: Some(Instant::now() + usable(lifetime)) })
    }

    /// A token service is asked over HTTPS, wherever it is: Docker Hub's is on another host than
    /// its API. It is asked without TLS only for a registry which is itself without TLS, and
    /// then only on the same host, or on one that the administrator listed.
    fn check_realm(&self, realm: &str) -> Result<Url, RegistryError> {
        let refuse = |realm: String, problem| {
            Err(RegistryError::Realm { target: self.target.clone(), realm, problem })
        };
        let Ok(url) = Url::parse(realm) else {
            return refuse("(unreadable)".into(), "is not a URL");
        };
        let host = authority(&url);
        let shown = format!("{}://{host}", url.scheme());
        if !url.username().is_empty() || url.password().is_some() {
            return refuse(shown, "comes with a login of its own");
        }
        let same = || host_name(&host) == host_name(self.api.host());
        match url.scheme() {
            "https" if !host.is_empty() => Ok(url),
            "http" if self.api.is_plain() && (same() || self.plain_http.contains(&host)) => Ok(url),
            _ => refuse(shown, "is not an https URL"),
        }
    }
}

fn token_request(mut ask: Ask, service: Option<&str>, scope: &str, login: Option<&Login>) -> Ask {
    let mut fields: Vec<(&str, &str)> = Vec::new();
    fields.extend(service.map(|service| ("service", service)));
    fields.push(("scope", scope));
    if let Some(Login::Identity(token)) = login {
        fields.extend([
            ("grant_type", "refresh_token"),
            ("client_id", CLIENT_ID),
            ("refresh_token", token),
        ]);
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(&fields);
        ask.form = Some(form.finish());
        return ask.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    if let Some(Login::Basic { username, password }) = login {
        fields.push(("account", username));
        ask.basic(username, password);
    }
    ask.url.query_pairs_mut().extend_pairs(&fields);
    ask
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
    /// In seconds: an integer, but some services send a fraction or a string.
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl Token {
    fn lifetime(&self) -> Option<f64> {
        self.expires_in.as_f64().or_else(|| self.expires_in.as_str()?.parse().ok())
    }

    fn value(self) -> Option<String> {
        let present = |token: &String| !token.is_empty();
        self.token.filter(present).or(self.access_token.filter(present))
    }
}

/// How long a token is used: a tenth of its life, and 30 seconds at most, is left for clocks
/// and for the request under way.
fn usable(expires_in: Option<f64>) -> Duration {
    let lifetime = match expires_in {
        // `as` saturates.
        Some(seconds) if seconds > 0.0 => (seconds as u64).min(MAX_LIFETIME),
        _ => DEFAULT_LIFETIME,
    };
    Duration::from_secs(lifetime - (lifetime / 10).min(30))
}

/// Whether the text can be a token: visible ASCII. Anything else could end the header early.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The challenge's scope if it is about this repository, else the one that a pull needs. `path` is
/// what this host calls it; a mirror may still name it as it is known elsewhere.
fn scope_for(path: &str, original: &str, scope: Option<&str>) -> String {
    let scopes = || scope.unwrap_or_default().split(' ');
    let named = |name: &str| {
        let prefix = format!("repository:{name}:");
        scopes().find(|scope| scope.starts_with(&prefix)).map(str::to_owned)
    };
    named(path).or_else(|| named(original)).unwrap_or_else(|| format!("repository:{path}:pull"))
}

fn unusable(why: &'static str) -> AuthError {
    AuthError::Refused(Answer::Unusable(why.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_used_for_most_of_their_life() {
        for (expires_in, expected) in [
            (None, 54),
            (Some(0.0), 54),
            (Some(-5.0), 54),
            (Some(f64::NAN), 54),
            (Some(1.5), 1),
            (Some(300.0), 270),
            (Some(3600.0), 3570),
            (Some(f64::INFINITY), MAX_LIFETIME - 30),
        ] {
            assert_eq!(usable(expires_in), Duration::from_secs(expected), "{expires_in:?}");
        }
    }

    #[test]
    fn token_answers_are_read() {
        for (body, token, lifetime) in [
            (r#"{"token":"a","access_token":"b","expires_in":300}"#, Some("a"), Some(300.0)),
            (r#"{"token":"","access_token":"b","expires_in":"60"}"#, Some("b"), Some(60.0)),
            (r#"{"token":null,"access_token":"b","expires_in":null}"#, Some("b"), None),
            (r#"{"expires_in":[1]}"#, None, None),
        ] {
            let answer: Token = serde_json::from_str(body).unwrap();
            assert_eq!(answer.lifetime(), lifetime, "{body}");
            assert_eq!(answer.value().as_deref(), token, "{body}");
        }
    }

    #[test]
    fn scopes_are_for_the_repository() {
        let reference: crate::reference::Reference = "r.example/a/b".parse().unwrap();
        for (scope, expected) in [
            (None, "repository:a/b:pull"),
            (Some("repository:a/b:pull,push"), "repository:a/b:pull,push"),
            (Some("registry:catalog:* repository:a/b:pull"), "repository:a/b:pull"),
            (Some("repository:a/bc:pull"), "repository:a/b:pull"),
        ] {
            let path = reference.repository().path();
            assert_eq!(scope_for(path, path, scope), expected, "{scope:?}");
        }
        let mirror = |scope| scope_for("cache/a/b", "a/b", scope);
        assert_eq!(mirror(None), "repository:cache/a/b:pull");
        assert_eq!(mirror(Some("repository:a/b:pull")), "repository:a/b:pull");
    }
}
