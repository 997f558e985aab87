//! Typed access to a YAML or JSON document of the administrator, with the path of each field for
//! messages. As in Kubernetes, a field that is not known is a mistake. Scalars are texts here,
//! so quotes make no difference.

use crate::artifact::yaml::Value;

/// What is wrong with which field. It does not show the value: some hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct FieldError {
    /// The path of the field: `providers[0].name`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// A field that has a value.
pub(super) struct Field<'a> {
    path: String,
    value: &'a Value,
}

/// A field that is an object.
pub(super) struct Object<'a>(Field<'a>);

impl<'a> Field<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    pub(super) fn wrong(&self, problem: impl Into<String>) -> FieldError {
        let field = if self.path.is_empty() { "the document" } else { &self.path };
        FieldError { field: field.into(), problem: problem.into() }
    }

    /// The object, which has no other fields than `known` ones.
    pub(super) fn object(self, known: &[&str]) -> Result<Object<'a>, FieldError> {
        let Value::Map(entries) = self.value else { return Err(self.wrong("is not an object")) };
        match entries.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(self.wrong(format!("there is no field {name:?}"))),
            None => Ok(Object(self)),
        }
    }

    pub(super) fn list(&self) -> Result<Vec<Field<'a>>, FieldError> {
        let Value::List(items) = self.value else { return Err(self.wrong("is not a list")) };
        let item = |(index, value)| Field { path: format!("{}[{index}]", self.path), value };
        Ok(items.iter().enumerate().map(item).collect())
    }

    pub(super) fn text(&self) -> Result<&'a str, FieldError> {
        match self.value {
            // As in Kubernetes.
            Value::Null => Ok(""),
            value => value.text().ok_or_else(|| self.wrong("is not a text")),
        }
    }

    pub(super) fn texts(&self) -> Result<Vec<String>, FieldError> {
        self.list()?.iter().map(|item| item.text().map(Into::into)).collect()
    }

    pub(super) fn boolean(&self) -> Result<bool, FieldError> {
        match self.text()? {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.wrong("is neither true nor false")),
        }
    }
}

impl<'a> Object<'a> {
    pub(super) fn wrong(&self, problem: impl Into<String>) -> FieldError {
        self.0.wrong(problem)
    }

    /// A field, if it is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<Field<'a>> {
        let value = self.0.value.get(name).filter(|value| **value != Value::Null)?;
        Some(Field { path: self.path(name), value })
    }

    pub(super) fn require(&self, name: &str) -> Result<Field<'a>, FieldError> {
        self.get(name)
            .ok_or_else(|| FieldError { field: self.path(name), problem: "is missing".into() })
    }

    /// A text that must not be empty.
    pub(super) fn require_text(&self, name: &str) -> Result<&'a str, FieldError> {
        match self.require(name)? {
            field if field.text()?.is_empty() => Err(field.wrong("is empty")),
            field => field.text(),
        }
    }

    /// A list of texts; empty if it is not there.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, FieldError> {
        self.get(name).map_or(Ok(Vec::new()), |field| field.texts())
    }

    fn path(&self, name: &str) -> String {
        match self.0.path.as_str() {
            "" => name.into(),
            path => format!("{path}.{name}"),
        }
    }
}
