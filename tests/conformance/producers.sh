#!/usr/bin/env bash
# Real producers against Skillmount: each tool that is present pushes a skill to a registry, and
# what `skillmount pull` makes of it must be the source directory: names, bytes, execute bits.
#
#   tests/conformance/producers.sh [--install] [--only TOOL,…]
#
# --install puts what `go install`, pip and apt-get can get into .tools/. Tools are looked for
# there, then in PATH. The registry is Debian's docker-registry, started on a free loopback port,
# or $CONFORMANCE_REGISTRY (host:port, plain HTTP on loopback). $SKILLMOUNT is the binary.
set -euo pipefail
cd "$(dirname "$0")/../.."

root=$PWD
tools=$root/.tools
only=
install=

while [ $# -gt 0 ]; do
  case $1 in
    --install) install=1 ;;
    --only) only=,$2, && shift ;;
    *) sed -n '2,10s/^# \?//p' "$0" >&2; exit 2 ;;
  esac
  shift
done

install_tools() {
  mkdir -p "$tools/bin"
  local module
  for module in oras.land/oras/cmd/oras@v1.3.3 \
    github.com/google/go-containerregistry/cmd/crane@latest \
    github.com/redhat-et/skillimage/cmd/skillctl@latest \
    github.com/salaboy/skills-oci@latest; do
    GOBIN=$tools/bin CGO_ENABLED=0 go install "$module" || echo "cannot install $module" >&2
  done
  python3 -m venv "$tools/python" && "$tools/python/bin/pip" install -q oras ||
    echo "cannot install the Python oras client" >&2
  if [ "$(id -u)" = 0 ]; then
    apt-get install -y --no-install-recommends buildah skopeo umoci docker-registry jq ||
      echo "cannot install Debian's packages" >&2
  fi
}
[ -z "$install" ] || install_tools
PATH=$tools/bin:$PATH

skillmount=${SKILLMOUNT:-$root/target/debug/skillmount}
[ -x "$skillmount" ] || { echo "$skillmount is missing: cargo build" >&2; exit 2; }
command -v jq >/dev/null || { echo "jq is missing" >&2; exit 2; }

work=$(mktemp -d)
registry_pid=
clean() {
  [ -z "$registry_pid" ] || kill "$registry_pid"
  # buildah leaves directories without write permission.
  chmod -R u+rwX "$work" && rm -rf "$work"
}
trap clean EXIT

start_registry() {
  command -v docker-registry >/dev/null || {
    echo "docker-registry is missing; or set CONFORMANCE_REGISTRY" >&2
    exit 2
  }
  local port
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  registry=127.0.0.1:$port
  printf '%s\n' 'version: 0.1' 'log: {level: error}' 'storage: {filesystem: {rootdirectory: '"$work/registry"'}}' \
    "http: {addr: '$registry'}" >"$work/registry.yml"
  docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
  registry_pid=$!
  local tries=0
  until curl -sf "http://$registry/v2/" >/dev/null; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat "$work/registry.log" >&2; exit 1; }
    sleep 0.1
  done
}
registry=${CONFORMANCE_REGISTRY:-}
[ -n "$registry" ] || start_registry

# --- sources -------------------------------------------------------------------------------------

src=$work/src
mkdir -p "$src/single" "$src/several" "$src/odd"
cp -a examples/skills/code-review "$src/single/"
cp -a examples/skills/. "$src/several/"

# What is legal and seldom: names, lengths, links.
odd=$src/odd/odd-names
deep=$odd/references/$(printf 'long-directory-name-%.0s' 1 2 3 4)/$(printf 'another-long-name-%.0s' 1 2 3 4)
mkdir -p "$deep" "$odd/scripts" "$odd/empty"
printf -- '---\nname: odd-names\ndescription: Has files with odd names.\n---\n\n# Odd\n' >"$odd/SKILL.md"
printf '#!/bin/sh\necho hi\n' >"$odd/scripts/run.sh"
chmod 755 "$odd/scripts/run.sh"
: >"$odd/references/empty.md"
printf 'ü\n' >"$odd/references/Größe und 名前.md"
printf 'deep\n' >"$deep/file.md"
printf 'hidden\n' >"$odd/.hidden"
head -c 300000 /dev/urandom >"$odd/references/random.bin"
ln -s ../SKILL.md "$odd/references/link.md"
ln "$odd/scripts/run.sh" "$odd/scripts/same.sh"
chmod -R u+rwX,go+rX "$src"

# --- comparison ----------------------------------------------------------------------------------

# Every path below a directory, links followed: type, execute bit, digest.
listing() { # DIR bits|nobits dirs|nodirs
  (
    cd "$1"
    find -L . -mindepth 1 \( -type d -printf 'd - %p\n' \) -o \( -type f -printf 'f %m %p\n' \)
  ) | while read -r type mode path; do
    case $type in
      d) [ "$3" = nodirs ] || printf 'dir %s\n' "$path" ;;
      f)
        bit=-
        [ "$2" = nobits ] || { [ $((0$mode & 0100)) = 0 ] || bit=x; }
        printf '%s %s %s\n' "$bit" "$(sha256sum <"$1/$path" | cut -c1-64)" "$path"
        ;;
    esac
  done | LC_ALL=C sort
}

rows=()
failed=0
number=0
wanted() { [ -z "$only" ] || [[ $only == *,$1,* ]]; }
row() { rows+=("$1|$2|$3|$4|$5"); }

# Pulls REF and compares it with SOURCE. SOURCE is what the volume must show.
compare() { # TOOL VERSION PUSHED-AS REF SOURCE LAYOUT [nobits] [nodirs]
  local bits=bits dirs=dirs format out result
  local tool=$1 version=$2 as=$3 ref=$4 source=$5 layout=$6
  shift 6
  for option; do
    case $option in nobits) bits=nobits ;; nodirs) dirs=nodirs ;; esac
  done
  number=$((number + 1))
  out=$work/out/$number
  mkdir -p "$work/out"
  format=$("$skillmount" inspect --output json "$ref" 2>"$work/inspect.log" |
    jq -r '[.artifacts[].format] | unique | join(", ")') || format="?"
  if ! "$skillmount" pull --layout "$layout" --output "$out" "$ref" >"$work/pull.log" 2>&1; then
    result="FAILED: $(tail -n 1 "$work/pull.log")"
  elif ! diff <(listing "$source" $bits $dirs) <(listing "$out" $bits $dirs) >"$work/diff.log"; then
    result="DIFFERS: $(head -n 4 "$work/diff.log" | tr '\n' ' ')"
  elif [ -n "$(find "$out" ! -type f ! -type d)" ]; then
    result="DIFFERS: there are links or devices"
  else
    result="same"
    [ $bits = bits ] || result="$result, but for execute bits (the producer drops them)"
    [ $dirs = dirs ] || result="$result, but for empty directories (the producer drops them)"
  fi
  [[ $result == same* ]] || failed=1
  row "$tool" "$version" "$as" "${format:-?}" "$result"
}

# Runs a push; on failure there is nothing to compare.
push() { # TOOL VERSION PUSHED-AS COMMAND…
  local tool=$1 version=$2 as=$3
  shift 3
  if ! "$@" >"$work/push.log" 2>&1; then
    row "$tool" "$version" "$as" "-" "NOT PUSHED: $(grep -v '^$' "$work/push.log" | tail -n 1)"
    failed=1
    return 1
  fi
}

# In a directory.
at() { (cd "$1" && shift && "$@"); }

# --- producers -----------------------------------------------------------------------------------

have() { # NAME COMMAND
  wanted "$1" || return 1
  command -v "$2" >/dev/null || { row "$1" "-" "-" "-" "not installed"; return 1; }
}

produce_oras() {
  have oras oras || return 0
  local v as ref
  v=$(oras version | sed -n 's/^Version: *//p')
  ref=$registry/oras/dir:1
  as="oras push code-review/"
  push oras "$v" "$as" at "$src/single" oras push --plain-http "$ref" code-review/ &&
    compare oras "$v" "$as" "$ref" "$src/single" nested
  ref=$registry/oras/dot:1
  as="oras push ."
  push oras "$v" "$as" at "$src/single/code-review" oras push --plain-http "$ref" . &&
    compare oras "$v" "$as" "$ref" "$src/single" nested
  ref=$registry/oras/several:1
  as="oras push a/ b/ c/"
  push oras "$v" "$as" at "$src/several" oras push --plain-http "$ref" ./*/ &&
    compare oras "$v" "$as" "$ref" "$src/several" nested
  ref=$registry/oras/files:1
  as="oras push FILE…"
  local files
  mapfile -t files < <(at "$src/single/code-review" find . -type f -printf '%P\n')
  push oras "$v" "$as" at "$src/single/code-review" oras push --plain-http "$ref" "${files[@]}" &&
    compare oras "$v" "$as" "$ref" "$src/single" nested nobits
  ref=$registry/oras/acr:1
  as="the Alibaba recipe"
  acr() {
    printf '{}\n' >"$work/config.json"
    tar -czf "$work/code-review.tar.gz" -C "$src/single/code-review" .
    cd "$work" && oras push --plain-http "$ref" --config config.json:application/vnd.oci.empty.v1+json \
      --artifact-type application/vnd.agent.skill.v1+json \
      code-review.tar.gz:application/vnd.agent.skill.content.v1.tar+gzip
  }
  push oras "$v" "$as" acr && compare oras "$v" "$as" "$ref" "$src/single" nested
  ref=$registry/oras/odd:1
  as="oras push odd-names/"
  # ORAS keeps links as links.
  push oras "$v" "$as" at "$src/odd" oras push --plain-http "$ref" odd-names/ &&
    compare oras "$v" "$as" "$ref" "$src/odd" nested
}

produce_oras_py() {
  wanted oras-py || return 0
  local python=$tools/python/bin/python v as ref
  [ -x "$python" ] || python=${ORAS_PYTHON:-python3}
  v=$("$python" -c 'import oras.version; print(oras.version.__version__)' 2>"$work/python.log") ||
    { row oras-py - - - "not installed"; return 0; }
  local program='
import sys, oras.client
ref, files = sys.argv[1], sys.argv[2:]
oras.client.OrasClient(insecure=True, tls_verify=False).push(target=ref, files=files, disable_path_validation=True)
'
  ref=$registry/oras-py/dir:1
  as="push(files=[code-review])"
  push oras-py "$v" "$as" at "$src/single" "$python" -c "$program" "$ref" code-review &&
    compare oras-py "$v" "$as" "$ref" "$src/single" nested
  ref=$registry/oras-py/files:1
  as="push(files=[FILE…])"
  local files
  mapfile -t files < <(at "$src/single/code-review" find . -type f -printf '%P\n')
  push oras-py "$v" "$as" at "$src/single/code-review" "$python" -c "$program" "$ref" "${files[@]}" &&
    compare oras-py "$v" "$as" "$ref" "$src/single" nested nobits
  ref=$registry/oras-py/odd:1
  as="push(files=[odd-names])"
  push oras-py "$v" "$as" at "$src/odd" "$python" -c "$program" "$ref" odd-names &&
    compare oras-py "$v" "$as" "$ref" "$src/odd" nested
}

produce_crane() {
  have crane crane || return 0
  local v as ref format
  v=$(crane version)
  for format in gnu pax; do
    ref=$registry/crane/single:$format
    as="crane append (GNU tar, $format)"
    tar --format=$format -cf "$work/single.tar" -C "$src/single/code-review" .
    push crane "$v" "$as" crane append --insecure -f "$work/single.tar" -t "$ref" &&
      compare crane "$v" "$as" "$ref" "$src/single" nested
    ref=$registry/crane/odd:$format
    as="crane append (odd names, $format)"
    tar --format=$format -cf "$work/odd.tar" -C "$src/odd" odd-names
    push crane "$v" "$as" crane append --insecure -f "$work/odd.tar" -t "$ref" &&
      compare crane "$v" "$as" "$ref" "$src/odd" nested
  done
  ref=$registry/crane/several:1
  as="crane append, a layer each"
  local layers=() skill
  for skill in "$src"/several/*; do
    tar -czf "$work/$(basename "$skill").tar.gz" -C "$src/several" "$(basename "$skill")"
    layers+=(-f "$work/$(basename "$skill").tar.gz")
  done
  push crane "$v" "$as" crane append --insecure "${layers[@]}" -t "$ref" &&
    compare crane "$v" "$as" "$ref" "$src/several" nested
  # As a registry's mirror does.
  ref=$registry/crane/flat:1
  as="crane flatten"
  push crane "$v" "$as" crane flatten --insecure "$registry/crane/several:1" -t "$ref" &&
    compare crane "$v" "$as" "$ref" "$src/several" nested
}

produce_buildah() {
  have buildah buildah || return 0
  local v as ref variant
  v=$(buildah version | sed -n 's/^Version: *//p')
  local b=(buildah --root "$work/buildah" --runroot "$work/buildah-run" --storage-driver vfs)
  image() { # NAME CONTEXT FORMAT DOCKERFILE
    printf '%b' "$4" >"$work/Dockerfile"
    "${b[@]}" bud --isolation chroot --layers --format "$3" -t "$1" -f "$work/Dockerfile" "$2"
  }
  for variant in oci docker; do
    ref=$registry/buildah/single:$variant
    as="FROM scratch; COPY . / ($variant)"
    push buildah "$v" "$as" image "single-$variant" "$src/single/code-review" $variant 'FROM scratch\nCOPY . /\n' &&
      push buildah "$v" "$as" "${b[@]}" push --tls-verify=false "single-$variant" "docker://$ref" &&
      compare buildah "$v" "$as" "$ref" "$src/single" nested
  done
  ref=$registry/buildah/several:1
  as="COPY a /a, COPY b /b, …"
  push buildah "$v" "$as" image several "$src/several" oci \
    'FROM scratch\nCOPY code-review /code-review\nCOPY log-triage /log-triage\nCOPY release-notes /release-notes\n' &&
    push buildah "$v" "$as" "${b[@]}" push --tls-verify=false several "docker://$ref" &&
    compare buildah "$v" "$as" "$ref" "$src/several" nested
  ref=$registry/buildah/odd:1
  as="COPY odd-names /odd-names"
  push buildah "$v" "$as" image odd "$src/odd" oci 'FROM scratch\nCOPY . /\n' &&
    push buildah "$v" "$as" "${b[@]}" push --tls-verify=false odd "docker://$ref" &&
    compare buildah "$v" "$as" "$ref" "$src/odd" nested
  ref=$registry/buildah/zstd:1
  as="the same, zstd"
  push buildah "$v" "$as" "${b[@]}" push --tls-verify=false --compression-format zstd odd "docker://$ref" &&
    compare buildah "$v" "$as" "$ref" "$src/odd" nested
}

produce_umoci() {
  have umoci umoci || return 0
  command -v skopeo >/dev/null || { row umoci - - - "skopeo is not installed"; return 0; }
  local v as ref layout=$work/umoci
  v="$(umoci --version | sed 's/.* //'), skopeo $(skopeo --version | sed 's/.* //')"
  layers() {
    umoci init --layout "$layout"
    umoci new --image "$layout:1"
    umoci insert --rootless --image "$layout:1" "$src/several/code-review" /code-review
    # A second layer puts something else in, and a third hides it again.
    umoci insert --rootless --image "$layout:1" "$src/several/log-triage" /gone
    umoci insert --rootless --image "$layout:1" --whiteout /gone
    umoci insert --rootless --image "$layout:1" --opaque "$src/several/log-triage" /log-triage
    umoci insert --rootless --image "$layout:1" "$src/several/release-notes" /release-notes
  }
  ref=$registry/umoci/several:1
  as="umoci insert, whiteouts; skopeo copy"
  push umoci "$v" "$as" layers || return 0
  push umoci "$v" "$as" skopeo copy --dest-tls-verify=false "oci:$layout:1" "docker://$ref" &&
    compare umoci "$v" "$as" "$ref" "$src/several" nested
  ref=$registry/umoci/v2s2:1
  as="skopeo copy --format v2s2"
  push umoci "$v" "$as" skopeo copy --format v2s2 --dest-tls-verify=false "oci:$layout:1" "docker://$ref" &&
    compare umoci "$v" "$as" "$ref" "$src/several" nested
  ref=$registry/umoci/zstd:1
  as="skopeo copy, zstd"
  push umoci "$v" "$as" skopeo copy --dest-compress-format zstd --dest-compress --dest-tls-verify=false \
    "oci:$layout:1" "docker://$ref" &&
    compare umoci "$v" "$as" "$ref" "$src/several" nested
}

produce_skillctl() {
  have skillctl skillctl || return 0
  local v as ref profile
  v=$(skillctl --version | sed 's/.* //')
  # Its store is in the home directory.
  skills() { HOME=$work/home XDG_DATA_HOME=$work/home/data skillctl "$@"; }
  mkdir -p "$work/home" "$src/skillctl"
  cp -a "$src/single/code-review" "$src/skillctl/"
  printf '%s\n' 'apiVersion: skillimage.io/v1alpha1' 'kind: SkillCard' 'metadata:' '  name: code-review' \
    '  namespace: conformance' '  version: 1.0.0' '  description: Reviews code.' 'spec:' '  prompt: SKILL.md' \
    >"$src/skillctl/code-review/skill.yaml"
  for profile in standard redhat; do
    ref=$registry/conformance/code-review-$profile:1.0.0
    as="skillctl build ($profile), push"
    one() {
      skills build --media-type $profile "$src/skillctl/code-review"
      skills tag conformance/code-review:1.0.0-draft "$ref"
      skills push --tls-verify=false "$ref"
    }
    push skillctl "$v" "$as" one && compare skillctl "$v" "$as" "$ref" "$src/skillctl" nested
  done
}

produce_skills_oci() {
  have skills-oci skills-oci || return 0
  local v as ref skill refs=()
  v=$(skills-oci --version | sed 's/.* //')
  ref=$registry/skills-oci/code-review:1.0.0
  as="skills-oci push"
  push skills-oci "$v" "$as" skills-oci --plain --plain-http push "$ref" "$src/single/code-review" &&
    compare skills-oci "$v" "$as" "$ref" "$src/single" nested
  ref=$registry/skills-oci/odd-names:1.0.0
  as="skills-oci push (odd names)"
  push skills-oci "$v" "$as" skills-oci --plain --plain-http push "$ref" "$src/odd/odd-names" &&
    compare skills-oci "$v" "$as" "$ref" "$src/odd" nested
  for skill in "$src"/several/*; do
    ref=$registry/skills-oci/$(basename "$skill"):1.0.0
    push skills-oci "$v" "skills-oci push" skills-oci --plain --plain-http push "$ref" "$skill" || return 0
    refs+=(--skill "$ref")
  done
  ref=$registry/skills-oci/collection:1.0.0
  as="skills-oci collection push"
  push skills-oci "$v" "$as" skills-oci --plain --plain-http collection push "$ref" --name several "${refs[@]}" &&
    compare skills-oci "$v" "$as" "$ref" "$src/several" nested
}

# A push that fails is a row, not the end.
set +e
for producer in oras oras_py crane buildah umoci skillctl skills_oci; do
  "produce_$producer"
done

printf '%s\n' '| producer | version | pushed as | format | result |' '| --- | --- | --- | --- | --- |'
for line in "${rows[@]}"; do
  printf '| %s |\n' "${line//|/ | }"
done
exit $failed
