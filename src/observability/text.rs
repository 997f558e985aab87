//! Texts from outside, made fit to be shown.

/// The most characters that are shown of a text which a server wrote.
const SHOWN: usize = 200;

/// A server's text, fit for an event: no control characters, not too long.
pub fn sanitise(text: &str) -> String {
    let mut clean = String::new();
    // `\p{Cf}` is not in std; these are the ones that reorder or hide what follows them.
    let hidden = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    for word in text.split(|c: char| c.is_whitespace() || c.is_control() || hidden(c)) {
        if word.is_empty() {
            continue;
        }
        if !clean.is_empty() {
            clean.push(' ');
        }
        clean.push_str(word);
    }
    match clean.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_made_fit_to_be_shown() {
        assert_eq!(sanitise(" a\n\tb\u{1b}[31mc\u{202e}d "), "a b [31mc d");
        assert_eq!(sanitise(&"é".repeat(201)), format!("{}…", "é".repeat(200)));
        assert_eq!(sanitise(&"é".repeat(200)), "é".repeat(200));
    }

    proptest! {
        #[test]
        fn shown_texts_are_short_and_plain(text in any::<String>()) {
            let shown = sanitise(&text);
            prop_assert!(shown.chars().count() <= SHOWN + 1);
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
