//! Who may do what: the ways in which registries ask for credentials.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use url::form_urlencoded;

use super::faults::Answer;
use super::routes::error;

/// How a registry, or the repositories below a prefix, ask for credentials.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    /// They do not.
    #[default]
    Anonymous,
    /// A user and a password with each request.
    Basic,
    /// A token from a token endpoint.
    Bearer(Bearer),
    /// `GET /v2/` answers 200 to anyone, and repositories need Basic: a client that learns the
    /// scheme from the root alone never sends its credentials.
    OpenRoot,
}

/// Where the challenge says that the token endpoint is.
#[derive(Debug, Clone, Default)]
pub enum Realm {
    /// On the registry's own host.
    #[default]
    Own,
    /// On the registry's second listener, as on Docker Hub.
    SecondHost,
    /// Wherever this URL points: another registry's, or an attacker's.
    At(String),
}

/// Under which names the token endpoint returns the token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TokenField {
    Token,
    AccessToken,
    #[default]
    Both,
}

/// A token endpoint and its ways.
#[derive(Debug, Clone, Default)]
pub struct Bearer {
    pub realm: Realm,
    pub field: TokenField,
    /// The `expires_in` that is announced, in seconds. Tokens end by [`Bearer::uses`] or
    /// [`super::Registry::expire_tokens`], never by the clock.
    pub expires_in: Option<u64>,
    /// How many requests a token is good for.
    pub uses: Option<u32>,
    /// Repositories (prefixes) for which anyone gets a token to pull; it is still needed.
    pub public: Vec<String>,
    /// Refuses a scope that the user does not have with 403 at the token endpoint. Otherwise
    /// the token lacks it, and the registry answers 401 `insufficient_scope`.
    pub refuse_at_token: bool,
    /// Answers 404 to POST, as registries without the OAuth2 endpoint do.
    pub without_post: bool,
}

/// A user of the registry.
#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub password: String,
    /// Prefixes, in whole path components, of the repositories that the user may pull.
    pub repositories: Vec<String>,
    /// Whether the user may push there as well.
    pub push: bool,
    /// A refresh token (`identitytoken` in Docker's configuration) good for the same.
    pub identity_token: Option<String>,
}

impl User {
    /// A user who may pull and push everything.
    pub fn new(name: &str, password: &str) -> Self {
        Self {
            name: name.into(),
            password: password.into(),
            repositories: vec![String::new()],
            push: true,
            identity_token: None,
        }
    }

    /// A user who may only pull below these prefixes.
    pub fn reader(name: &str, password: &str, repositories: &[&str]) -> Self {
        let repositories = repositories.iter().map(|&prefix| prefix.into()).collect();
        Self { repositories, push: false, ..Self::new(name, password) }
    }

    pub fn with_identity_token(self, token: &str) -> Self {
        Self { identity_token: Some(token.into()), ..self }
    }

    /// The value of an `Authorization` header with this user's password.
    pub fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.name, self.password)))
    }

    fn may(&self, repository: &str, action: &str) -> bool {
        (action == "pull" || self.push) && below_any(&self.repositories, repository)
    }
}

/// Whether `repository` is one of `prefixes` or lies below it, in whole components.
pub(super) fn below_any(prefixes: &[String], repository: &str) -> bool {
    prefixes.iter().any(|prefix| is_below(prefix, repository))
}

pub(super) fn is_below(prefix: &str, repository: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    let rest = repository.strip_prefix(prefix);
    prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a request wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// None for `/v2/` itself.
    pub repository: Option<&'a str>,
    /// `pull` or `push`.
    pub action: &'static str,
}

#[derive(Debug, Clone)]
struct Token {
    /// `repository:action`.
    grants: Vec<String>,
    uses: Option<u32>,
}

/// The tokens issued so far.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    issued: HashMap<String, Token>,
    count: u32,
}

impl Tokens {
    pub(super) fn expire(&mut self) {
        self.issued.clear();
    }

    fn issue(&mut self, grants: Vec<String>, uses: Option<u32>) -> String {
        self.count += 1;
        let token = format!("CANARY-token-{}", self.count);
        self.issued.insert(token.clone(), Token { grants, uses });
        token
    }

    fn take(&mut self, token: &str) -> Option<Vec<String>> {
        let known = self.issued.get_mut(token)?;
        if let Some(left) = &mut known.uses {
            *left = left.checked_sub(1)?;
        }
        Some(known.grants.clone())
    }
}

/// The answer that refuses a request, or none.
pub(super) fn check(
    auth: &Auth,
    users: &[User],
    tokens: &mut Tokens,
    realm: &str,
    authorization: Option<&str>,
    wanted: Wanted<'_>,
) -> Option<Answer> {
    match auth {
        Auth::Anonymous => None,
        Auth::OpenRoot if wanted.repository.is_none() => None,
        Auth::OpenRoot | Auth::Basic => {
            let challenge = r#"Basic realm="Registry Realm""#;
            let Some(user) = authorization.and_then(|value| basic_user(users, value)) else {
                let refused = error(401, "UNAUTHORIZED", "authentication required");
                return Some(refused.header("www-authenticate", challenge));
            };
            let allowed = wanted.repository.is_none_or(|name| user.may(name, wanted.action));
            (!allowed).then(denied)
        }
        Auth::Bearer(_) => {
            let mut challenge = format!(r#"Bearer realm="{realm}",service="registry.test""#);
            if let Some(name) = wanted.repository {
                let actions = if wanted.action == "push" { "pull,push" } else { "pull" };
                challenge.push_str(&format!(r#",scope="repository:{name}:{actions}""#));
            }
            let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
            let problem = match token.map(|token| tokens.take(token)) {
                None => "",
                Some(None) => "invalid_token",
                Some(Some(grants)) => {
                    let needed = wanted.repository.map(|name| format!("{name}:{}", wanted.action));
                    if needed.is_none_or(|needed| grants.contains(&needed)) {
                        return None;
                    }
                    "insufficient_scope"
                }
            };
            if !problem.is_empty() {
                challenge.push_str(&format!(r#",error="{problem}""#));
            }
            let refused = error(401, "UNAUTHORIZED", "authentication required");
            Some(refused.header("www-authenticate", challenge))
        }
    }
}

fn denied() -> Answer {
    error(403, "DENIED", "requested access to the resource is denied")
}

fn basic_user<'a>(users: &'a [User], authorization: &str) -> Option<&'a User> {
    let pair = STANDARD.decode(authorization.strip_prefix("Basic ")?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (name, password) = pair.split_once(':')?;
    users.iter().find(|user| user.name == name && user.password == password)
}

/// The token endpoint: GET with Basic or nothing, POST with a password or a refresh token.
pub(super) fn token(
    bearer: &Bearer,
    users: &[User],
    tokens: &mut Tokens,
    method: &str,
    query: &str,
    body: &[u8],
    authorization: Option<&str>,
) -> Answer {
    let post = method == "POST";
    if post && bearer.without_post {
        return error(404, "UNSUPPORTED", "page not found");
    }
    let parse = |bytes| form_urlencoded::parse(bytes).into_owned().collect::<Vec<_>>();
    let fields = parse(if post { body } else { query.as_bytes() });
    let field = |name: &str| {
        fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    };
    if field("service") != "registry.test" {
        return error(400, "UNSUPPORTED", "no such service");
    }
    let unauthorized = || {
        error(401, "UNAUTHORIZED", "authentication required")
            .header("www-authenticate", r#"Basic realm="Token Realm""#)
    };
    let user = match (post, authorization, field("grant_type")) {
        (true, _, "refresh_token") => {
            let offered = Some(field("refresh_token"));
            users.iter().find(|user| user.identity_token.as_deref() == offered)
        }
        (true, _, "password") => {
            let (name, password) = (field("username"), field("password"));
            users.iter().find(|user| user.name == name && user.password == password)
        }
        (true, _, _) => return error(400, "UNSUPPORTED", "unsupported grant_type"),
        (false, Some(value), _) => basic_user(users, value),
        (false, None, _) => None,
    };
    if user.is_none() && (post || authorization.is_some()) {
        return unauthorized();
    }
    let may = |name: &str, action: &str| match user {
        Some(user) if user.may(name, action) => true,
        _ => action == "pull" && below_any(&bearer.public, name),
    };
    let mut grants = vec![];
    let scopes = fields.iter().filter(|(known, _)| known == "scope");
    for scope in scopes.flat_map(|(_, value)| value.split(' ')) {
        let Some((name, actions)) =
            scope.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':'))
        else {
            continue;
        };
        for action in actions.split(',') {
            if may(name, action) {
                grants.push(format!("{name}:{action}"));
            } else if bearer.refuse_at_token {
                return if user.is_some() { denied() } else { unauthorized() };
            }
        }
    }
    let token = tokens.issue(grants, bearer.uses);
    let mut answer = json!({});
    if bearer.field != TokenField::AccessToken {
        answer["token"] = token.clone().into();
    }
    if bearer.field != TokenField::Token {
        answer["access_token"] = token.into();
    }
    if let Some(seconds) = bearer.expires_in {
        answer["expires_in"] = seconds.into();
    }
    Answer::new(200, answer.to_string()).header("content-type", "application/json")
}
