#!/usr/bin/env python3
"""Kubernetes' OpenAPI document as the JSON schemas that kubeconform looks for.

    schemas.py swagger.json DIRECTORY

One file for each kind, `<kind>-<first part of the group>-<version>.json`, complete in itself. A
field that the document does not know is refused, which the document itself does not ask for.
"""

import json
import pathlib
import sys

PREFIX = "#/definitions/"
# Texts in OpenAPI, but the API server also takes numbers.
NUMBERS = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": ["string", "integer"],
    "io.k8s.apimachinery.pkg.api.resource.Quantity": ["string", "number"],
}


def strict(name, definition):
    if name in NUMBERS:
        return {"type": NUMBERS[name]}
    # `format` says how wide a number is, and has words that validators do not know.
    kept = {key: value for key, value in definition.items() if key != "format"}
    if "properties" in kept:
        kept.setdefault("additionalProperties", False)
    return kept


def references(node):
    """The names of the definitions that a schema refers to."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].removeprefix(PREFIX)
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def closure(start, definitions):
    found, left = {}, [start]
    while left:
        name = left.pop()
        if name not in found:
            found[name] = definitions[name]
            left.extend(references(definitions[name]))
    return found


def main(source, directory):
    document = json.loads(pathlib.Path(source).read_text(encoding="utf-8"))
    definitions = {name: strict(name, body) for name, body in document["definitions"].items()}
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True)
    for name, body in definitions.items():
        # Options and events of a watch are kinds of every group; nobody writes them.
        kinds = body.get("x-kubernetes-group-version-kind", [])
        if len(kinds) != 1:
            continue
        kind = kinds[0]
        group = kind["group"].split(".")[0]
        parts = [kind["kind"].lower(), group, kind["version"]]
        file = directory / ("-".join(part for part in parts if part) + ".json")
        schema = {"$ref": PREFIX + name, "definitions": closure(name, definitions)}
        file.write_text(json.dumps(schema), encoding="utf-8")


main(*sys.argv[1:])
