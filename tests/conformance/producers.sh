#!/usr/bin/env bash
# Real producers: each tool that is here pushes skills to Debian's docker-registry, or writes an
# OCI layout, and what `skillmount pull` makes of it must be the source: names, bytes and execute
# bits. Prints a table. A tool that is not here is a row "not run"; it does not count as passed.
#
#   tests/conformance/producers.sh [--install] [TOOL…]
#
# --install gets what `go install` and pip can into .tools/, where tools are looked for before
# PATH. $SKILLMOUNT is the binary, else what `cargo build` made.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
tools=$root/.tools
if [ "${1-}" = --install ]; then
    install=1
    shift
fi
only=" $* "

# Flux cannot be installed like this: its source lacks files that its build makes.
modules=(
    oras.land/oras/cmd/oras@v1.3.3
    github.com/google/go-containerregistry/cmd/crane@v0.22.1
    github.com/redhat-et/skillimage/cmd/skillctl@v0.7.1
    github.com/salaboy/skills-oci@v0.0.11
)
python_client=oras==0.2.43

install_tools() {
    local module command
    for module in "${modules[@]}"; do
        command=${module##*/}
        command=$tools/bin/${command%@*}
        if [ -x "$command" ] && go version -m "$command" | grep -q "mod.*${module##*@}"; then
            continue
        fi
        # With a limit, because what cannot be had may also not answer.
        CGO_ENABLED=0 GOBIN=$tools/bin timeout 300 go install "$module" ||
            echo "producers: cannot install $module" >&2
    done
    "$tools/python/bin/pip" show -q "${python_client%==*}" 2>/dev/null ||
        { python3 -m venv "$tools/python" &&
            "$tools/python/bin/pip" install -q --disable-pip-version-check "$python_client"; } ||
        echo "producers: cannot install $python_client" >&2
}
[ -z "${install-}" ] || install_tools
PATH=$tools/bin:$PATH

skillmount=${SKILLMOUNT:-$root/target/debug/skillmount}
for needed in "$skillmount" docker-registry openssl curl; do
    command -v "$needed" >/dev/null || { echo "producers: $needed is missing" >&2; exit 2; }
done

work=$(mktemp -d)
clean() {
    [ -z "${registry_pid-}" ] || kill "$registry_pid"
    # buildah leaves directories without write permission.
    chmod -R u+rwX "$work" && rm -rf "$work"
}
trap clean EXIT

# --- The registry: with TLS, because not every tool speaks without ------------------------------

start_registry() {
    cd "$work"
    local ec=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes) port tries=0
    openssl req -x509 "${ec[@]}" -subj /CN=authority -days 2 -keyout ca.key -out ca.pem
    openssl req "${ec[@]}" -subj /CN=127.0.0.1 -keyout key.pem -out request.pem
    echo 'subjectAltName = IP:127.0.0.1' >names
    openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
        -extfile names -out cert.pem
    # Ports of which one is free, rather than a free one that is taken by the time it is used.
    for port in 45{001..020}; do
        registry=127.0.0.1:$port
        printf '%s\n' 'version: 0.1' "storage: {filesystem: {rootdirectory: '$work/registry'}}" \
            "http: {addr: '$registry', tls: {certificate: cert.pem, key: key.pem}}" >registry.yml
        docker-registry serve registry.yml >registry.log 2>&1 &
        registry_pid=$!
        for tries in {1..100}; do
            ! curl -sf --cacert ca.pem "https://$registry/v2/" || return 0
            kill -0 "$registry_pid" 2>/dev/null || break
            sleep 0.1
        done
        kill "$registry_pid" 2>/dev/null || true
    done
    echo "producers: docker-registry did not start: $(cat registry.log)" >&2
    return 1
}
start_registry >"$work/start.log" 2>&1 || { cat "$work/start.log" >&2; exit 2; }
cd "$root"
# For what is written in Go, for Python's, and for Skillmount.
export SSL_CERT_FILE=$work/ca.pem REQUESTS_CA_BUNDLE=$work/ca.pem SKILLMOUNT_CA_FILE=$work/ca.pem
# Nobody's logins, settings and stores.
export HOME=$work/home XDG_DATA_HOME=$work/home/data XDG_CONFIG_HOME=$work/home/config
mkdir -p "$HOME"

# --- What is pushed ------------------------------------------------------------------------------

single=$work/src/single several=$work/src/several odd=$work/src/odd flat=$work/src/flat
mkdir -p "$single" "$several" "$flat/code-review"
cp -a examples/skills/code-review "$single/"
cp -a examples/skills/. "$several/"
find "$single" -type f -exec cp -a {} "$flat/code-review/" \;

# What is legal and seldom: names, lengths, links.
skill=$odd/odd-names
deep=$skill/references/$(printf 'long-name-%.0s' {1..9})/$(printf 'another-one-%.0s' {1..9})
mkdir -p "$deep" "$skill/scripts" "$skill/empty"
printf -- '---\nname: odd-names\ndescription: Has odd names.\n---\n\n# Odd\n' >"$skill/SKILL.md"
printf '#!/bin/sh\necho hi\n' >"$skill/scripts/run.sh"
printf 'ü\n' >"$skill/references/Größe und 名前.md"
printf 'hidden\n' | tee "$skill/.hidden" "$deep/file.md" >/dev/null
: >"$skill/references/empty.md"
head -c 300000 /dev/urandom >"$skill/references/random.bin"
ln -s ../SKILL.md "$skill/references/link.md"
ln "$skill/scripts/run.sh" "$skill/scripts/same.sh"
chmod -R u+rwX,go+rX "$work/src"
chmod 755 "$skill/scripts/run.sh"

# --- Comparison ----------------------------------------------------------------------------------

rows=() failed=0 pulls=0
row() { rows+=("| $tool | $version | $1 | $2 | $3 |"); }
fail() {
    failed=1
    row "$@"
}

# Every path below a directory, links followed: d for a directory, x for what is executable.
listing() {
    (
        cd "$1"
        find -L . -type d -printf 'd %p\n' -o -perm /111 -printf 'x %p\n' -o -printf '- %p\n'
        find -L . -type f -exec sha256sum {} +
    ) | LC_ALL=C sort
}

# What is at REF must show SOURCE. The format is the one that `inspect` tells.
shows() { # HOW REF SOURCE
    local format out=$work/out/$((pulls += 1))
    mkdir -p "$work/out"
    format=$("$skillmount" inspect --output json "$2" 2>/dev/null |
        sed -n 's/^ *"format": "\(.*\)",\?$/\1/p' | sort -u | paste -sd ' ')
    if ! "$skillmount" pull --layout nested --output "$out" "$2" >"$work/log" 2>&1; then
        fail "$1" "${format:--}" "**not pulled**: $(tail -n 1 "$work/log")"
    elif ! diff <(listing "$3") <(listing "$out") >"$work/log"; then
        fail "$1" "$format" "**differs**: $(head -n 6 "$work/log" | tr '\n' ' ')"
    elif [ -n "$(find "$out" ! -type f ! -type d)" ]; then
        fail "$1" "$format" "**differs**: there are links or devices"
    else
        row "$1" "$format" same
    fi
}

# Runs what pushes; if it fails, the tool or this script is wrong, and nothing is shown.
made() { # HOW COMMAND…
    if ! "${@:2}" >"$work/log" 2>&1; then
        fail "$1" - "**not pushed**: $(grep -v '^$' "$work/log" | tail -n 1)"
        return 1
    fi
}

# A command in a directory.
at() { (cd "$1" && "${@:2}"); }

# --- Producers: each sets `version`, then pushes -------------------------------------------------

# Alibaba's documentation builds an artifact like this.
alibaba() {
    printf '{}\n' >config.json
    tar -czf code-review.tar.gz -C "$single/code-review" .
    oras push "$1" --config config.json:application/vnd.oci.empty.v1+json \
        --artifact-type application/vnd.agent.skill.v1+json \
        code-review.tar.gz:application/vnd.agent.skill.content.v1.tar+gzip
}

produce_oras() {
    version=$(oras version | sed -n 's/^Version: *//p')
    local ref=$registry/oras how names=()
    how="push code-review/"
    made "$how" at "$single" oras push "$ref:dir" code-review/ && shows "$how" "$ref:dir" "$single"
    how="push ."
    made "$how" at "$single/code-review" oras push "$ref:dot" . && shows "$how" "$ref:dot" "$single"
    how="push DIR…"
    mapfile -t names < <(ls "$several")
    made "$how" at "$several" oras push "$ref:dirs" "${names[@]}" &&
        shows "$how" "$ref:dirs" "$several"
    how="push FILE…"
    mapfile -t names < <(at "$single/code-review" find . -type f -printf '%P\n')
    made "$how" at "$single/code-review" oras push "$ref:files" "${names[@]}" &&
        shows "$how" "$ref:files" "$single"
    how="push odd-names/"
    made "$how" at "$odd" oras push "$ref:odd" odd-names/ && shows "$how" "$ref:odd" "$odd"
    how="Alibaba's recipe"
    made "$how" at "$work" alibaba "$ref:acr" && shows "$how" "$ref:acr" "$single"
    how="copy --to-oci-layout"
    made "$how" oras copy "$ref:odd" --to-oci-layout "$work/oras:odd" &&
        shows "$how" "oci:$work/oras:odd" "$odd"
}

produce_oras_py() {
    local python=$tools/python/bin/python ref=$registry/oras-py how names=()
    version=$("$python" -c 'import oras.version; print(oras.version.__version__)')
    local push='import sys, oras.client
oras.client.OrasClient().push(target=sys.argv[1], files=sys.argv[2:])'
    how="push(files=[DIR])"
    made "$how" at "$single" "$python" -c "$push" "$ref:dir" code-review &&
        shows "$how" "$ref:dir" "$single"
    made "$how" at "$odd" "$python" -c "$push" "$ref:odd" odd-names &&
        shows "$how, odd names" "$ref:odd" "$odd"
    how="push(files=[FILE, …]); it drops their directories"
    mapfile -t names < <(at "$single/code-review" find . -type f -printf '%P\n')
    made "$how" at "$single/code-review" "$python" -c "$push" "$ref:files" "${names[@]}" &&
        shows "$how" "$ref:files" "$flat"
}

produce_crane() {
    version=$(crane version)
    local ref=$registry/crane format skill how layers=()
    for format in gnu pax; do
        how="append, $format tar"
        tar --format=$format -cf "$work/$format.tar" -C "$odd" odd-names
        made "$how" crane append -f "$work/$format.tar" -t "$ref:$format" &&
            shows "$how" "$ref:$format" "$odd"
    done
    for skill in "$several"/*; do
        tar -czf "$work/${skill##*/}.tar.gz" -C "$several" "${skill##*/}"
        layers+=(-f "$work/${skill##*/}.tar.gz")
    done
    how="append, a layer each"
    made "$how" crane append "${layers[@]}" -t "$ref:layers" &&
        shows "$how" "$ref:layers" "$several"
    how="flatten"
    made "$how" crane flatten "$ref:layers" -t "$ref:flat" && shows "$how" "$ref:flat" "$several"
    how="pull --format=oci"
    made "$how" crane pull --format=oci "$ref:layers" "$work/crane" &&
        shows "$how" "oci:$work/crane" "$several"
}

# Its own store, and no mounts.
b() { buildah --root "$work/buildah" --runroot "$work/buildah-run" --storage-driver vfs "$@"; }
image() { # NAME CONTEXT FORMAT LINE…
    printf '%s\n' 'FROM scratch' "${@:4}" >"$work/Dockerfile"
    b bud --isolation chroot --layers --format "$3" -t "$1" -f "$work/Dockerfile" "$2"
}

produce_buildah() {
    version=$(buildah version | sed -n 's/^Version: *//p')
    local ref=$registry/buildah format how lines=()
    for format in oci docker; do
        how="COPY . /, $format"
        made "$how" image "$format" "$single/code-review" $format 'COPY . /' &&
            made "$how" b push "$format" "docker://$ref:$format" &&
            shows "$how" "$ref:$format" "$single"
    done
    how="COPY for each"
    mapfile -t lines < <(at "$several" find . -mindepth 1 -maxdepth 1 -printf 'COPY %f /%f\n')
    made "$how" image several "$several" oci "${lines[@]}" &&
        made "$how" b push several "docker://$ref:several" &&
        shows "$how" "$ref:several" "$several"
    how="COPY . /, odd names"
    made "$how" image odd "$odd" oci 'COPY . /' || return 0
    made "$how" b push odd "docker://$ref:odd" && shows "$how" "$ref:odd" "$odd"
    how="push --compression-format zstd"
    made "$how" b push --compression-format zstd odd "docker://$ref:zstd" &&
        shows "$how" "$ref:zstd" "$odd"
    how="push oci:"
    made "$how" b push odd "oci:$work/layout:odd" && shows "$how" "oci:$work/layout:odd" "$odd"
    how="push oci-archive:"
    made "$how" b push odd "oci-archive:$work/odd.tar:odd" &&
        shows "$how" "oci-archive:$work/odd.tar" "$odd"
}

umoci_layers() {
    umoci init --layout "$1"
    umoci new --image "$1:1"
    umoci insert --rootless --image "$1:1" "$several/code-review" /code-review
    # A second layer puts something else in, and a third hides it again.
    umoci insert --rootless --image "$1:1" "$odd/odd-names" /gone
    umoci insert --rootless --image "$1:1" --whiteout /gone
    umoci insert --rootless --image "$1:1" --opaque "$several/log-triage" /log-triage
    umoci insert --rootless --image "$1:1" "$several/release-notes" /release-notes
}

produce_umoci() {
    version=$(umoci --version | sed 's/.* //')
    local how="insert, whiteouts; its layout"
    made "$how" umoci_layers "$work/umoci" && shows "$how" "oci:$work/umoci:1" "$several"
}

produce_skopeo() {
    version=$(skopeo --version | sed 's/.* //')
    local ref=$registry/skopeo how="copy of umoci's" from=oci:$work/umoci:1
    [ -e "$work/umoci" ] || { row "copies" - "not run: wants umoci"; return 0; }
    made "$how" skopeo copy "$from" "docker://$ref:1" && shows "$how" "$ref:1" "$several"
    how="copy --format v2s2"
    made "$how" skopeo copy --format v2s2 "$from" "docker://$ref:v2s2" &&
        shows "$how" "$ref:v2s2" "$several"
    how="copy --dest-compress-format zstd"
    made "$how" skopeo copy --dest-compress-format zstd --dest-compress "$from" "docker://$ref:zstd" &&
        shows "$how" "$ref:zstd" "$several"
    how="copy to oci-archive:"
    made "$how" skopeo copy "$from" "oci-archive:$work/skopeo.tar:1" &&
        shows "$how" "oci-archive:$work/skopeo.tar:1" "$several"
}

skillctl_push() { # PROFILE REF
    skillctl build --media-type "$1" "$work/skillctl/code-review"
    skillctl tag conformance/code-review:1.0.0-draft "$2"
    skillctl push "$2"
}

produce_skillctl() {
    version=$(skillctl --version | sed 's/.* //')
    local profile how ref
    mkdir -p "$work/skillctl"
    cp -a "$single/code-review" "$work/skillctl/"
    printf '%s\n' 'apiVersion: skillimage.io/v1alpha1' 'kind: SkillCard' 'metadata:' \
        '  name: code-review' '  namespace: conformance' '  version: 1.0.0' \
        '  description: Reviews code.' 'spec:' '  prompt: SKILL.md' \
        >"$work/skillctl/code-review/skill.yaml"
    for profile in standard redhat; do
        how="build --media-type $profile, push"
        ref=$registry/skillctl/code-review:1.0.0-$profile
        made "$how" skillctl_push $profile "$ref" && shows "$how" "$ref" "$work/skillctl"
    done
}

produce_skills_oci() {
    version=$(skills-oci --version | sed 's/.* //')
    local ref=$registry/skills-oci how skill members=()
    how="push"
    made "$how" skills-oci --plain push "$ref/code-review:1" "$single/code-review" &&
        shows "$how" "$ref/code-review:1" "$single"
    how="push, odd names"
    made "$how" skills-oci --plain push "$ref/odd-names:1" "$odd/odd-names" &&
        shows "$how" "$ref/odd-names:1" "$odd"
    # In one repository: this registry takes no index of what it does not have there.
    how="collection push"
    for skill in "$several"/*; do
        made "$how" skills-oci --plain push "$ref/all:${skill##*/}" "$skill" || return 0
        members+=(--skill "$ref/all:${skill##*/}")
    done
    made "$how" skills-oci --plain collection push "$ref/all:1" --name several "${members[@]}" &&
        shows "$how" "$ref/all:1" "$several"
}

produce_flux() {
    version=$(flux --version | sed 's/.* //')
    local ref=$registry/flux:1 how="push artifact"
    made "$how" flux push artifact "oci://$ref" --path="$several" --source=here --revision=1 &&
        shows "$how" "$ref" "$several"
}

# A push that fails is a row, not the end.
set +e
for tool in oras oras-py crane buildah umoci skopeo skillctl skills-oci flux; do
    [[ $only = *[![:space:]]* && $only != *" $tool "* ]] && continue
    command=$tool version=-
    [ $tool != oras-py ] || command=$tools/python/bin/oras
    if ! command -v "$command" >/dev/null; then
        row - - "not run: not installed"
        continue
    fi
    "produce_${tool//-/_}"
done

printf '%s\n' '| producer | version | what it did | format | result |' \
    '| --- | --- | --- | --- | --- |' "${rows[@]}"
exit $failed
