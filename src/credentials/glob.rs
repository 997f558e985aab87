//! Go's `filepath.Match` for one label of a host name, which is what kubelet matches with:
//! `*`, `?`, `[a-z]`, `[^a-z]`, and `\` to escape.

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// Any text, also none.
    Star,
    /// Any one character.
    One,
    Literal(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Token {
    fn takes(&self, character: char) -> bool {
        match self {
            Self::Star => false,
            Self::One => true,
            Self::Literal(literal) => *literal == character,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != *negated
            }
        }
    }
}

/// Whether `text` matches `pattern`. A malformed pattern matches nothing.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let Some(tokens) = parse(pattern) else {
        return false;
    };
    let text: Vec<char> = text.chars().collect();
    let (mut token, mut at) = (0, 0);
    // Where to go on after the last star if what follows it does not fit: no recursion, and at
    // most pattern × text steps.
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match tokens.get(token) {
            Some(Token::Star) => {
                retry = Some((token + 1, at));
                token += 1;
            }
            Some(one) if one.takes(text[at]) => {
                token += 1;
                at += 1;
            }
            _ => match &mut retry {
                Some((after_star, from)) => {
                    *from += 1;
                    (token, at) = (*after_star, *from);
                }
                None => return false,
            },
        }
    }
    tokens[token..].iter().all(|token| *token == Token::Star)
}

/// Whether a pattern is well-formed.
pub(super) fn is_valid(pattern: &str) -> bool {
    parse(pattern).is_some()
}

fn parse(pattern: &str) -> Option<Vec<Token>> {
    let mut characters = pattern.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '*' => Token::Star,
            '?' => Token::One,
            '\\' => Token::Literal(characters.next()?),
            '[' => {
                let negated = characters.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while ranges.is_empty() || characters.next_if_eq(&']').is_none() {
                    let low = bound(&mut characters)?;
                    let high = match characters.next_if_eq(&'-') {
                        Some(_) => bound(&mut characters)?,
                        None => low,
                    };
                    ranges.push((low, high));
                }
                Token::Class { negated, ranges }
            }
            literal => Token::Literal(literal),
        });
    }
    Some(tokens)
}

/// An end of a range: `-` and `]` must be escaped, as in Go.
fn bound(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match characters.next()? {
        '-' | ']' => None,
        '\\' => characters.next(),
        character => Some(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rows are those of Go's own test of `filepath.Match` that have no slash in them.
    #[test]
    fn agrees_with_go() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*b*c*d*e*", "axbxcxdxe", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^b-d]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "x", true),
            ("[x\\-]", "-", true),
            ("[x\\-]", "z", false),
            ("[\\-x]", "a", false),
            ("[]a]", "]", false),
            ("[-]", "-", false),
            ("[x-]", "x", false),
            ("[-x]", "x", false),
            ("\\", "a", false),
            ("[a-b-c]", "a", false),
            ("[", "a", false),
            ("[^", "a", false),
            ("[^bc", "a", false),
            ("a[", "a", false),
            ("a[", "ab", false),
            ("*x", "xxx", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(pattern in "[a-c*?\\[\\]^\\\\-]{0,12}", text in "[a-c]{0,12}") {
            matches(&pattern, &text);
        }

        #[test]
        fn a_literal_matches_itself_alone(pattern in "[a-c]{0,4}", text in "[a-c]{0,4}") {
            prop_assert_eq!(matches(&pattern, &text), pattern == text);
        }
    }
}
