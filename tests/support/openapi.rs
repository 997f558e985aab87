//! Kubernetes' own description of its API, as far as the driver uses it: kube_openapi.json, which
//! kube_openapi.sh makes.

use serde_json::{Map, Value};

const DESCRIPTION: &str = include_str!("kube_openapi.json");

fn description() -> Value {
    serde_json::from_str(DESCRIPTION).unwrap()
}

/// The template of a path: `/api/v1/namespaces/{namespace}/pods/{name}`.
pub fn template(path: &str) -> Option<String> {
    let description = description();
    let known = description["paths"].as_object().unwrap();
    let fits = |template: &&String| {
        let (wanted, found): (Vec<_>, Vec<_>) =
            (template.split('/').collect(), path.split('/').collect());
        let same = |(wanted, found): (&&str, &&str)| wanted.starts_with('{') || wanted == found;
        wanted.len() == found.len() && wanted.iter().zip(&found).all(same)
    };
    known.keys().find(fits).cloned()
}

/// What is wrong with an object that answers a method of a path, or that is sent there to be
/// stored.
pub fn check_object(method: &str, path: &str, object: &Value) -> Vec<String> {
    let Some(template) = template(path) else { return vec![format!("{path} is no path")] };
    match description()["paths"][&template][method.to_lowercase()].get("answer") {
        Some(schema) => check(schema, object),
        None => vec![format!("{method} is no method of {path}")],
    }
}

/// What is wrong with a `Status`.
pub fn check_status(answer: &Value) -> Vec<String> {
    let name = "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Status";
    check(&serde_json::json!({ "$ref": name }), answer)
}

fn check(schema: &Value, value: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    visit(&description(), schema, value, "", &mut problems);
    problems
}

fn visit(all: &Value, schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.trim_start_matches("#/definitions/");
        match all["definitions"].get(name) {
            Some(schema) => visit(all, schema, value, at, problems),
            None => problems.push(format!("{at}: {name} is not described")),
        }
        return;
    }
    let kind = schema["type"].as_str().unwrap_or("object");
    let fits = match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        _ => false,
    };
    if !fits {
        problems.push(format!("{at}: not of type {kind}"));
        return;
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        if value.get(required.as_str().unwrap()).is_none() {
            problems.push(format!("{at}: lacks {required}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        visit(all, &schema["items"], item, &format!("{at}[]"), problems);
    }
    let nothing = Map::new();
    for (key, value) in value.as_object().unwrap_or(&nothing) {
        let at = format!("{at}.{key}");
        match schema["properties"].get(key).or_else(|| schema.get("additionalProperties")) {
            Some(schema) => visit(all, schema, value, &at, problems),
            None => problems.push(format!("{at}: unknown")),
        }
    }
}
