#!/usr/bin/env bash
# Real producers: each tool that is here pushes skills to Debian's docker-registry, or writes an
# OCI layout (recipes.sh), and what `skillmount pull` makes of it must be the source: names, bytes and execute
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
    local ec=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes) port _
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
        for _ in {1..100}; do
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

# --- All of them ---------------------------------------------------------------------------------

# shellcheck source-path=SCRIPTDIR
. tests/conformance/recipes.sh

present() {
    case $1 in
        oras-py) "$tools/python/bin/python" -c 'import oras' 2>/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# A push that fails is a row, not the end.
set +e
for tool in oras oras-py crane buildah umoci skopeo skillctl skills-oci flux; do
    [[ $only = *[![:space:]]* && $only != *" $tool "* ]] && continue
    version=-
    if ! present "$tool"; then
        row - - "not run: not installed"
        continue
    fi
    "produce_${tool//-/_}"
done

printf '%s\n' '| producer | version | what it did | format | result |' \
    '| --- | --- | --- | --- | --- |' "${rows[@]}"
exit $failed
