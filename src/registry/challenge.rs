//! `WWW-Authenticate`: what a registry wants to see before it answers.

use std::fmt;

/// One way to authenticate that this driver knows.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user name and a password with each request.
    Basic,
    /// A token from a token service.
    Bearer {
        /// The token service's URL.
        realm: String,
        /// The name under which the token service knows the registry.
        service: Option<String>,
        /// What the token should allow.
        scope: Option<String>,
    },
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic => "Basic",
            Self::Bearer { .. } => "Bearer",
        })
    }
}

/// The best of the challenges in the headers of one answer: a token if there is a choice,
/// because then the password goes out once and not with each request.
pub(super) fn best<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for challenge in headers.flat_map(parse) {
        match challenge {
            Challenge::Bearer { .. } => return Some(challenge),
            Challenge::Basic => basic = Some(challenge),
        }
    }
    basic
}

/// The challenges in one header value (RFC 9110, section 11.6.1): commas separate both
/// challenges and their parameters, and stand in quoted strings as well. Unknown schemes are
/// skipped, and so is what breaks the grammar.
pub(super) fn parse(value: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = split_token(rest);
        if word.is_empty() {
            // Not a token: step over one character, or stop at the end.
            let mut characters = rest.chars();
            if characters.next().is_none() {
                break;
            }
            rest = characters.as_str();
            continue;
        }
        let next = after.trim_start_matches([' ', '\t']);
        match next.strip_prefix('=') {
            Some(text) => {
                let (parameter, remaining) = split_value(text.trim_start_matches([' ', '\t']));
                if let Some((_, parameters)) = found.last_mut() {
                    parameters.push((word.to_ascii_lowercase(), parameter));
                }
                rest = remaining;
            }
            None => {
                found.push((word.to_ascii_lowercase(), Vec::new()));
                rest = after;
            }
        }
    }
    found.into_iter().filter_map(|(scheme, parameters)| known(&scheme, parameters)).collect()
}

fn known(scheme: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    let (mut realm, mut service, mut scope) = (None, None, None);
    for (name, value) in parameters {
        let place = match name.as_str() {
            "realm" => &mut realm,
            "service" => &mut service,
            "scope" => &mut scope,
            _ => continue,
        };
        // A parameter occurs once; the first counts.
        place.get_or_insert(value);
    }
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer { realm: realm?, service, scope }),
        _ => None,
    }
}

fn split_token(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)))
        .unwrap_or(text.len());
    text.split_at(end)
}

/// A parameter's value: a quoted string with its escapes undone, else all up to the next comma
/// or space, because some registries do not quote URLs.
fn split_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([',', ' ', '\t']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            other => value.push(other),
        }
    }
    (value, characters.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        }
    }

    #[test]
    fn challenges_are_parsed() {
        let hub = bearer(
            "https://auth.docker.io/token",
            Some("registry.docker.io"),
            Some("repository:a/b:pull,push"),
        );
        for (value, expected) in [
            ("", vec![]),
            (",, ,", vec![]),
            ("Basic", vec![Challenge::Basic]),
            ("basic realm=\"a, Bearer realm=\\\"x\\\"\"", vec![Challenge::Basic]),
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",\
                 scope=\"repository:a/b:pull,push\"",
                vec![hub.clone()],
            ),
            (
                "bEaReR Realm=\"https://auth.docker.io/token\" , SERVICE = \"registry.docker.io\",\
                 scope=\"repository:a/b:pull,push\",error=\"invalid_token\", BASIC realm=\"x\"",
                vec![hub, Challenge::Basic],
            ),
            (
                "Negotiate abc==, Bearer realm=https://x/token,service=y",
                vec![bearer("https://x/token", Some("y"), None)],
            ),
            ("Bearer service=\"no realm\"", vec![]),
            ("Bearer realm=\"unterminated", vec![bearer("unterminated", None, None)]),
            ("realm=\"no scheme\"", vec![]),
            ("Digest realm=\"a\", nonce=\"b\"", vec![]),
        ] {
            assert_eq!(parse(value), expected, "{value}");
        }
        assert_eq!(
            best(["Basic realm=\"a\"", "Bearer realm=\"https://b\""].into_iter()),
            Some(bearer("https://b", None, None))
        );
    }

    proptest! {
        #[test]
        fn parsing_ends(value in "\\PC*") {
            parse(&value);
        }

        #[test]
        fn quoted_strings_survive(realm in "[ -~]*") {
            let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(
                parse(&format!("Bearer realm=\"{quoted}\", service=\"s\"")),
                vec![bearer(&realm, Some("s"), None)]
            );
        }
    }
}
