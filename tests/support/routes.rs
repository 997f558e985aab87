//! The distribution API: a request in, an answer out.

use bytes::Bytes;
use serde_json::{Value, json};
use skillmount::reference::Digest;
use url::form_urlencoded;

use super::auth::{self, Auth, Wanted};
use super::content::blobs_of;
use super::faults::Answer;
use super::log::Request;
use super::registry::State;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An answer with the error envelope of the distribution specification.
pub(super) fn error(status: u16, code: &str, message: &str) -> Answer {
    Answer::new(status, error_body(code, message)).header("content-type", "application/json")
}

pub(super) fn error_body(code: &str, message: &str) -> Bytes {
    json!({"errors": [{"code": code, "message": message, "detail": null}]}).to_string().into()
}

/// One request with its body, as the routes see it.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub request: &'a Request,
    pub content_type: Option<&'a str>,
    pub body: Bytes,
    /// Faults may say that Range is not understood.
    pub ignore_range: bool,
}

impl Call<'_> {
    fn query(&self, name: &str) -> Option<String> {
        let mut fields = form_urlencoded::parse(self.request.query.as_bytes());
        fields.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }
}

pub(super) fn answer(state: &State, call: &Call<'_>) -> Answer {
    let (method, path) = (call.request.method.as_str(), call.request.path.as_str());
    let authorization = call.request.authorization.as_deref();
    if path == "/token" {
        let Some(bearer) = state.options.token_endpoint() else {
            return error(404, "UNSUPPORTED", "this registry issues no tokens");
        };
        let mut tokens = state.tokens.lock().unwrap();
        let (users, query) = (&state.options.users, &call.request.query);
        return auth::token(bearer, users, &mut tokens, method, query, &call.body, authorization);
    }
    if let Some(digest) = path.strip_prefix("/storage/") {
        // Object stores take signed URLs, and refuse a second way to authenticate.
        return match (authorization, state.content().any_blob(digest)) {
            (Some(_), _) => Answer::new(400, "Only one auth mechanism allowed"),
            (None, Some(blob)) => bytes(call, blob),
            (None, None) => Answer::new(404, "NoSuchKey"),
        };
    }
    let Some(rest) = path.strip_prefix("/v2/").or((path == "/v2").then_some("")) else {
        return Answer::new(404, "404 page not found\n");
    };
    let route = route(rest);
    let repository = route.as_ref().map(|(name, _, _)| *name);
    let action = if matches!(method, "GET" | "HEAD") { "pull" } else { "push" };
    let rule = state.options.auth_of(repository);
    let realm = match rule {
        Auth::Bearer(bearer) => state.realm(bearer),
        _ => String::new(),
    };
    let mut tokens = state.tokens.lock().unwrap();
    let wanted = Wanted { repository, action };
    let users = &state.options.users;
    let refused = auth::check(rule, users, &mut tokens, &realm, authorization, wanted);
    drop(tokens);
    if let Some(refused) = refused {
        return refused.header("docker-distribution-api-version", "registry/2.0");
    }
    let answer = match (rest, route) {
        ("", _) => Answer::new(200, "{}").header("content-type", "application/json"),
        (_, Some((name, "manifests", selector))) => manifests(state, call, name, selector),
        (_, Some((name, "uploads", id))) => uploads(state, call, name, id),
        (_, Some((name, "blobs", digest))) => blobs(state, call, name, digest),
        (_, Some((name, "tags", _))) => tags(state, call, name),
        (_, Some((name, "referrers", digest))) => referrers(state, name, digest),
        _ => Answer::new(404, "404 page not found\n"),
    };
    answer.header("docker-distribution-api-version", "registry/2.0")
}

/// Repository, kind and what is asked for. Repository names have slashes of their own.
fn route(path: &str) -> Option<(&str, &'static str, &str)> {
    if let Some((name, id)) = path.rsplit_once("/blobs/uploads") {
        return Some((name, "uploads", id.trim_start_matches('/')));
    }
    for kind in ["manifests", "blobs", "referrers"] {
        if let Some((name, rest)) = path.rsplit_once(&format!("/{kind}/")) {
            return Some((name, kind, rest));
        }
    }
    path.strip_suffix("/tags/list").map(|name| (name, "tags", ""))
}

fn manifests(state: &State, call: &Call<'_>, name: &str, selector: &str) -> Answer {
    let mut content = state.content();
    match call.request.method.as_str() {
        "GET" | "HEAD" => {
            let Some(manifest) = content.manifest(name, selector) else {
                let unknown = "repository name not known to registry";
                return match content.knows(name) {
                    true => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
                    false => error(404, "NAME_UNKNOWN", unknown),
                };
            };
            let accepted = call.request.accept.as_deref().unwrap_or("*/*");
            if !accepted.contains("*/*") && !accepted.contains(&manifest.media_type) {
                // What distribution answers to clients from before OCI.
                let message = "manifest found, but accept header does not support its type";
                return error(404, "MANIFEST_UNKNOWN", message);
            }
            let answer =
                Answer::new(200, manifest.body).header("content-type", manifest.media_type);
            match state.options.content_digest {
                true => answer.header("docker-content-digest", manifest.digest),
                false => answer,
            }
        }
        "PUT" => {
            let document: Value = serde_json::from_slice(&call.body).unwrap_or_default();
            let digest = Digest::sha256(&call.body);
            if !document.is_object() {
                return error(400, "MANIFEST_INVALID", "manifest invalid");
            }
            if selector.contains(':') && selector != digest.to_string() {
                return error(400, "DIGEST_INVALID", "provided digest did not match content");
            }
            if blobs_of(&call.body).iter().any(|blob| !content.has_blob(name, blob)) {
                return error(404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
            }
            let media_type = call.content_type.unwrap_or("application/octet-stream");
            let tag = (!selector.contains(':')).then_some(selector);
            content.put_manifest(name, tag, media_type, call.body.clone());
            let answer = Answer::new(201, "")
                .header("location", format!("/v2/{name}/manifests/{digest}"))
                .header("docker-content-digest", digest);
            match document["subject"]["digest"].as_str() {
                Some(subject) => answer.header("oci-subject", subject),
                None => answer,
            }
        }
        "DELETE" => match content.remove_manifest(name, selector) {
            true => Answer::new(202, ""),
            false => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        },
        _ => error(405, "UNSUPPORTED", "the operation is unsupported"),
    }
}

fn blobs(state: &State, call: &Call<'_>, name: &str, digest: &str) -> Answer {
    if !matches!(call.request.method.as_str(), "GET" | "HEAD") {
        return error(405, "UNSUPPORTED", "the operation is unsupported");
    }
    let Some(blob) = state.content().blob(name, digest) else {
        return error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    let answer = bytes(call, blob);
    match state.options.content_digest {
        true => answer.header("docker-content-digest", digest),
        false => answer,
    }
}

/// Content with one byte range understood (RFC 9110, section 14).
fn bytes(call: &Call<'_>, all: Bytes) -> Answer {
    let whole = |all| {
        Answer::new(200, all)
            .header("content-type", "application/octet-stream")
            .header("accept-ranges", "bytes")
    };
    let range = call.request.range.as_deref().filter(|_| !call.ignore_range);
    let Some((from, to)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
    else {
        return whole(all);
    };
    let length = all.len();
    let (from, to) = match (from.parse::<usize>(), to.parse::<usize>()) {
        (Ok(from), Ok(to)) if from <= to => (from, to.saturating_add(1).min(length)),
        (Ok(from), Err(_)) if to.is_empty() => (from, length),
        (Err(_), Ok(last)) if from.is_empty() => (length.saturating_sub(last), length),
        _ => return whole(all),
    };
    if from >= length {
        let refused = error(416, "RANGE_INVALID", "requested range not satisfiable");
        return refused.header("content-range", format!("bytes */{length}"));
    }
    let mut answer = whole(all.slice(from..to));
    answer.status = axum::http::StatusCode::PARTIAL_CONTENT;
    answer.header("content-range", format!("bytes {from}-{}/{length}", to - 1))
}

/// Monolithic and chunked uploads, and mounts from other repositories.
fn uploads(state: &State, call: &Call<'_>, name: &str, id: &str) -> Answer {
    let mut content = state.content();
    let created = |digest: &str| {
        Answer::new(201, "")
            .header("location", format!("/v2/{name}/blobs/{digest}"))
            .header("docker-content-digest", digest)
    };
    let accepted = |status, id: &str, length: usize| {
        Answer::new(status, "")
            .header("location", format!("/v2/{name}/blobs/uploads/{id}"))
            .header("docker-upload-uuid", id)
            .header("range", format!("0-{}", length.saturating_sub(1)))
    };
    let digest = call.query("digest");
    let unknown = || error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    match call.request.method.as_str() {
        "POST" => {
            if let (Some(mount), Some(from)) = (call.query("mount"), call.query("from"))
                && content.has_blob(&from, &mount)
            {
                content.link(name, &mount);
                return created(&mount);
            }
            let id = content.start_upload();
            if digest.is_none() {
                return accepted(202, &id, 0);
            }
            finish(&mut content, call, name, &id, digest).map_or_else(unknown, |digest| {
                digest.map_or_else(|refused| refused, |digest| created(&digest))
            })
        }
        "PATCH" => match content.append(id, &call.body) {
            Some(length) => accepted(202, id, length),
            None => unknown(),
        },
        "PUT" => finish(&mut content, call, name, id, digest).map_or_else(unknown, |digest| {
            digest.map_or_else(|refused| refused, |digest| created(&digest))
        }),
        "GET" => content.append(id, &[]).map_or_else(unknown, |length| accepted(204, id, length)),
        "DELETE" => content.end_upload(id).map_or_else(unknown, |_| Answer::new(204, "")),
        _ => error(405, "UNSUPPORTED", "the operation is unsupported"),
    }
}

/// Ends an upload: its digest, a refusal, or none if it was never started.
fn finish(
    content: &mut super::content::Content,
    call: &Call<'_>,
    name: &str,
    id: &str,
    digest: Option<String>,
) -> Option<Result<String, Answer>> {
    content.append(id, &call.body)?;
    let bytes = content.end_upload(id)?;
    let actual = Digest::sha256(&bytes).to_string();
    if digest.as_deref() != Some(actual.as_str()) {
        let message = "provided digest did not match uploaded content";
        return Some(Err(error(400, "DIGEST_INVALID", message)));
    }
    content.put_blob(bytes.into());
    content.link(name, &actual);
    Some(Ok(actual))
}

fn tags(state: &State, call: &Call<'_>, name: &str) -> Answer {
    let content = state.content();
    if !content.knows(name) {
        return error(404, "NAME_UNKNOWN", "repository name not known to registry");
    }
    let mut tags = content.tags(name);
    if let Some(last) = call.query("last") {
        tags.retain(|tag| *tag > last);
    }
    let limit = call.query("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    let more = tags.len() > limit;
    tags.truncate(limit);
    let body = json!({"name": name, "tags": tags}).to_string();
    let answer = Answer::new(200, body).header("content-type", "application/json");
    match tags.last() {
        Some(last) if more => {
            let link = format!(r#"</v2/{name}/tags/list?n={limit}&last={last}>; rel="next""#);
            answer.header("link", link)
        }
        _ => answer,
    }
}

fn referrers(state: &State, name: &str, digest: &str) -> Answer {
    if !state.options.referrers {
        return Answer::new(404, "404 page not found\n");
    }
    let manifests = state.content().referrers(name, digest);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    Answer::new(200, index.to_string()).header("content-type", INDEX)
}
