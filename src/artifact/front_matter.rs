//! The front matter of a SKILL.md: YAML between two lines `---` at the start of the file. It is
//! read to learn the skill's name and description, and to say what is wrong with it; nothing in
//! it can make reading it fail.

use unicode_normalization::UnicodeNormalization;

use super::name;
use super::yaml::{self, Value, Yaml};

/// The longest front matter that is read as YAML, in bytes.
pub const MAX_BYTES: usize = 64 << 10;
/// How deep its lists and maps may be.
pub const MAX_DEPTH: usize = 8;
/// The longest description, in characters (agentskills.io).
pub const MAX_DESCRIPTION: usize = 1024;
/// The longest compatibility note, in characters (agentskills.io).
const MAX_COMPATIBILITY: usize = 500;
/// The specification's fields. Agents have more of their own.
const FIELDS: [&str; 6] =
    ["name", "description", "license", "compatibility", "metadata", "allowed-tools"];

/// What a SKILL.md says about its skill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrontMatter {
    /// The name in NFC, trimmed, never empty. It need not be a valid one.
    pub name: Option<String>,
    /// The description, trimmed, never empty.
    pub description: Option<String>,
    /// What is wrong by the specification.
    pub warnings: Vec<String>,
    /// What only a strict validation minds: agents in use do read it.
    pub strict: Vec<String>,
}

/// Reads the front matter of a SKILL.md's text.
pub fn parse(text: &str) -> FrontMatter {
    let mut matter = FrontMatter::default();
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => {
            matter.strict.push("starts with a byte order mark [agentskills.io: format]".into());
            rest
        }
        None => text,
    };
    let trimmed = text.trim_start_matches(['\r', '\n', ' ', '\t']);
    // Only whole blank lines may come before: an indented `---` is none.
    let start = text.len() - trimmed.len();
    let start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    if start > 0 {
        matter
            .strict
            .push("has blank lines before the front matter [agentskills.io: format]".into());
    }
    let Some(block) = block(&text[start..]) else {
        matter.strict.clear();
        matter.warnings.push("has no front matter [agentskills.io: format]".into());
        return matter;
    };
    let (block, closed) = block;
    if !closed {
        matter
            .warnings
            .push("the front matter has no closing line --- [agentskills.io: format]".into());
    }
    if block.len() > MAX_BYTES {
        matter.warnings.push(format!(
            "the front matter has {} bytes, more than {MAX_BYTES}; read line by line \
             [skillmount: front matter]",
            block.len()
        ));
        matter.scan(cut(block, MAX_BYTES));
    } else if closed {
        match yaml::load(block, MAX_DEPTH) {
            Ok(Yaml { value: Value::Map(entries), duplicates }) => {
                matter.read(&Value::Map(entries), duplicates);
            }
            Ok(_) => {
                matter
                    .warnings
                    .push("the front matter is not a map [agentskills.io: format]".into());
                matter.scan(block);
            }
            Err(error) => {
                matter.warnings.push(format!(
                    "the front matter is not plain YAML ({error}); read line by line \
                     [agentskills.io: format]"
                ));
                matter.scan(block);
            }
        }
    } else {
        matter.scan(block);
    }
    matter.check();
    matter
}

/// The text between the lines `---`, and whether there is a second one.
fn block(text: &str) -> Option<(&str, bool)> {
    let is_fence = |line: &str| line.strip_prefix("---").is_some_and(|rest| rest.trim().is_empty());
    let first = text.split_inclusive('\n').next()?;
    if !is_fence(first) {
        return None;
    }
    let body = &text[first.len()..];
    let mut at = 0;
    for line in body.split_inclusive('\n') {
        if is_fence(line) {
            return Some((&body[..at], true));
        }
        at += line.len();
    }
    Some((body, false))
}

/// At most `max` bytes of a text.
fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl FrontMatter {
    fn read(&mut self, map: &Value, duplicates: Vec<String>) {
        for key in duplicates {
            self.warnings
                .push(format!("the front matter has {key:?} more than once; the last counts [agentskills.io: format]"));
        }
        for (field, into) in [("name", &mut self.name), ("description", &mut self.description)] {
            match map.get(field) {
                Some(Value::Text(text)) => *into = Some(text.clone()),
                Some(Value::List(_) | Value::Map(_)) => {
                    self.warnings.push(format!("{field} is not a text [agentskills.io: {field}]"));
                }
                Some(Value::Null) | None => {}
            }
        }
        let Value::Map(entries) = map else { return };
        for (key, _) in entries {
            if !FIELDS.contains(&key.as_str()) {
                self.strict.push(format!(
                    "field {key:?} is not in the specification [agentskills.io: front matter]"
                ));
            }
        }
        match map.get("compatibility") {
            Some(Value::Text(text)) if text.chars().count() > MAX_COMPATIBILITY => {
                self.strict.push(format!(
                    "compatibility has more than {MAX_COMPATIBILITY} characters \
                     [agentskills.io: compatibility]"
                ));
            }
            Some(Value::List(_) | Value::Map(_)) => self
                .strict
                .push("compatibility is not a text [agentskills.io: compatibility]".into()),
            Some(Value::Text(_) | Value::Null) | None => {}
        }
    }

    /// Takes `name:` and `description:` from lines that start with them: what is left where the
    /// YAML is broken, most often by a colon in an unquoted description.
    fn scan(&mut self, block: &str) {
        let mut lines = block.lines().peekable();
        while let Some(line) = lines.next() {
            let (into, value) = if let Some(value) = line.strip_prefix("name:") {
                (&mut self.name, value)
            } else if let Some(value) = line.strip_prefix("description:") {
                (&mut self.description, value)
            } else {
                continue;
            };
            let value = value.trim();
            let text = if value.starts_with(['>', '|']) && value.len() <= 3 {
                let mut folded = Vec::new();
                while let Some(line) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
                    folded.push(line.trim());
                }
                folded.join(" ")
            } else {
                unquote(value).to_owned()
            };
            // Anchors, aliases and tags stand before the value: without their meaning the text
            // has none.
            let is_plain = !text.is_empty() && !value.starts_with(['&', '*', '!']);
            if is_plain && into.is_none() {
                *into = Some(text);
            }
        }
    }

    fn check(&mut self) {
        let tidy = |text: &mut Option<String>| {
            *text = text
                .take()
                .map(|text| text.trim().nfc().collect::<String>())
                .filter(|text| !text.is_empty());
        };
        tidy(&mut self.name);
        tidy(&mut self.description);
        match &self.name {
            None => self.warnings.push("has no name [agentskills.io: name]".into()),
            Some(name) => {
                if let Some(problem) = name::specification_problem(name) {
                    self.warnings.push(format!(
                        "name {:?} {problem} [agentskills.io: name]",
                        name::shortened(name)
                    ));
                }
            }
        }
        match &self.description {
            None => self.warnings.push("has no description [agentskills.io: description]".into()),
            Some(description) => {
                let length = description.chars().count();
                if length > MAX_DESCRIPTION {
                    self.warnings.push(format!(
                        "the description has {length} characters, more than {MAX_DESCRIPTION} \
                         [agentskills.io: description]"
                    ));
                }
            }
        }
    }
}

fn unquote(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}

#[cfg(test)]
mod tests;
