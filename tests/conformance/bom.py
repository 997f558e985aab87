"""Makes a bill of materials exact: leaves out what is not in the binary, and this machine's paths.

    bom.py BOM SOURCE <LINKED >EXACT

cargo-cyclonedx names all that Cargo's lock file has for the target: also crates that only a feature
for tests or a feature that nobody asks for would bring. LINKED has a line `name version` for each
crate of the binary. One of them that the bill does not name is an error.
"""

import json
import sys

path, source = sys.argv[1:]
linked = {tuple(line.split()) for line in sys.stdin}
with open(path, encoding="utf-8") as file:
    text = file.read()
bom = json.loads(text.replace(f"path+file://{source}#", "").replace("?download_url=file://.", ""))


def name(part):
    return part["name"], part["version"]


own = bom["metadata"]["component"]
parts = [part for part in bom["components"] if name(part) in linked]
missing = linked - {name(part) for part in [own, *parts]}
if missing:
    sys.exit(f"bom.py: not in the bill of materials: {sorted(missing)}")
kept = {part["bom-ref"] for part in [own, *parts]}
bom["components"] = parts
bom["dependencies"] = [
    {"ref": edge["ref"], "dependsOn": [to for to in edge.get("dependsOn", []) if to in kept]}
    for edge in bom["dependencies"]
    if edge["ref"] in kept
]
json.dump(bom, sys.stdout, indent=2)
print()
