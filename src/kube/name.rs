//! Names of Kubernetes objects. What is put into a URL is one of these.

use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes.
const MAX_NAME: usize = 253;

/// A name that an object may have: a DNS subdomain (RFC 1123), as the API server checks it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(String);

/// A text that no object is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "names have lower-case letters, digits, \"-\" and \".\", and at most {MAX_NAME} characters"
)]
pub struct NotAName;

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let is_end = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let is_label = |label: &str| {
            let bytes = label.as_bytes();
            bytes.first().is_some_and(is_end)
                && bytes.last().is_some_and(is_end)
                && bytes.iter().all(|b| is_end(b) || *b == b'-')
        };
        match text.len() <= MAX_NAME && text.split('.').all(is_label) {
            true => Ok(Self(text.into())),
            false => Err(NotAName),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_api_server() {
        let long = "a".repeat(MAX_NAME);
        for good in ["a", "0", "a-b", "a.b.c", "regcred-1.team", &long] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        let longer = format!("{long}a");
        for bad in [
            "", ".", "..", "a.", ".a", "a..b", "-a", "a-", "a.-b", "A", "a_b", "a/b", "a b",
            "a%2f", "a?b", "a#b", "é", &longer,
        ] {
            assert_eq!(bad.parse::<Name>(), Err(NotAName), "{bad}");
        }
    }
}
