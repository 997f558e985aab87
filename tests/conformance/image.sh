#!/usr/bin/env bash
# Builds the image without a registry to pull base images from: this machine's Rust takes the place
# of the Dockerfile's first stage, and buildah makes its last stage as it stands. Leaves an OCI
# layout and a software bill of materials in .tools/image/. image.rs looks at the one and runs it;
# the other is compared with what cargo says here.
#
#   tests/conformance/image.sh [image] [sbom]
#
# Both by default. $PROFILE is cargo's, `dist` as in the Dockerfile if it is not set. What cannot be
# had is a row "not run" in the report; a build that fails is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=$PWD/.tools
reports=$tools/conformance
out=$tools/image
machine=$(uname -m)
target=$machine-unknown-linux-musl
profile=${PROFILE:-dist}
cyclonedx=0.5.9
bom=$out/skillmount.cdx.json

needs() { # TOOL:PACKAGE…
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    if ((${#missing[@]} > 0)); then
        echo "image: apt-get install ${missing[*]}" >&2
        exit 1
    fi
}

# What the first stage of the Dockerfile copies, which has to be what .dockerignore lets through.
sources() {
    local copied
    copied=$(sed -n '/^FROM scratch$/q; s/^COPY \(.*\) [^ ]*$/\1/p' Dockerfile | tr ' ' '\n' | sort)
    diff --label Dockerfile --label .dockerignore -u <(echo "$copied") \
        <(sed -n 's/^!//p' .dockerignore | sort) >&2 || return 1
    echo "$copied"
}

not_run() { # PART, and why
    mkdir -p "$reports"
    echo "$1: not run: $2" | tee "$reports/image-$1.summary"
}

# Whether this Rust has, or gets, the standard library for a target.
has_target() {
    local libraries
    libraries=$(rustc --print sysroot)/lib/rustlib
    [ -d "$libraries/$1" ] || {
        command -v rustup >/dev/null && timeout 90 rustup --quiet target add "$1" &&
            [ -d "$libraries/$1" ]
    }
}

# Sets $platform to the target that the image is built for, and $libc to how that is reported. Not
# every machine can get Rust's library for musl: then glibc is linked statically in its place. That
# is another C library than in the image that ships, and the same image otherwise; since 2.34 it
# resolves names without plug-ins.
choose_platform() {
    platform=$target libc=musl
    has_target "$platform" && return
    echo "image: rustup has no $target for this machine: glibc is linked statically" >&2
    platform=$machine-unknown-linux-gnu libc="glibc, because there is no target for musl here"
}

image() {
    needs buildah:buildah musl-gcc:musl-tools
    local platform libc flags=()
    choose_platform
    [ "$libc" = musl ] || flags=(CARGO_ENCODED_RUSTFLAGS=-Ctarget-feature=+crt-static)
    local authorities=/etc/ssl/certs/ca-certificates.crt
    [ -s "$authorities" ] || needs update-ca-certificates:ca-certificates
    rm -rf "$out/context" "$out/build" "$out/oci"
    mkdir -p "$out/context" "$out/build/etc/ssl/certs"

    # What the first stage sees has to be enough for its command.
    local copied build="cargo build --profile dist --locked --bin skillmount --target"
    copied=$(sources)
    grep -qF "$build" Dockerfile || { echo "image: the Dockerfile does not: $build" >&2; return 1; }
    xargs cp -at "$out/context" <<<"$copied"
    local binaries=${CARGO_TARGET_DIR:-$PWD/target}
    (cd "$out/context" && env CARGO_TARGET_DIR="$binaries" "${flags[@]}" \
        cargo build --profile "$profile" --locked --bin skillmount --target "$platform")

    # The two files that the last stage takes from the first.
    local directory=$profile
    [ "$profile" != dev ] || directory=debug
    cp "$binaries/$platform/$directory/skillmount" "$out/build/"
    # Those that ship are stripped by Cargo.
    [ "$profile" != dev ] || strip "$out/build/skillmount"
    cp -L "$authorities" "$out/build/etc/ssl/certs/"
    sed -n '/^FROM scratch$/,$p' Dockerfile >"$out/Dockerfile"
    # A store of its own, of the kind that needs nothing of the kernel.
    local buildah=(buildah --root "$out/storage" --runroot "$out/run" --storage-driver vfs)
    "${buildah[@]}" bud --quiet --timestamp "$(git log -1 --format=%ct)" \
        --build-context build="$out/build" --build-arg REVISION="$(git rev-parse HEAD)" \
        --file "$out/Dockerfile" --tag skillmount "$out/context"
    "${buildah[@]}" push --quiet skillmount "oci:$out/oci:skillmount"
    "${buildah[@]}" rmi --all --force >/dev/null
    echo "profile $profile, $libc" >"$out/built"
}

# `name version` of every crate that is linked into the binary.
linked() {
    cargo tree --locked --edges normal --target "$target" --prefix none --format '{p}' |
        sed 's/^\([^ ]*\) v\([^ ]*\).*/\1 \2/' | LC_ALL=C sort -u
}

sbom() {
    needs python3:python3
    local raw=skillmount.cdx crates
    if [[ $("$tools/bin/cargo-cyclonedx" cyclonedx --version 2>/dev/null) != *" $cyclonedx" ]]; then
        # Without optimisation, because it runs for a second.
        timeout 600 cargo install --quiet --locked --debug --root "$tools" \
            cargo-cyclonedx@$cyclonedx || {
            not_run sbom "cargo-cyclonedx $cyclonedx cannot be installed"
            return 0
        }
    fi
    mkdir -p "$out" "$reports"
    # It writes beside Cargo.toml only. With a date of its own, so that it can be made again.
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) PATH=$tools/bin:$PATH \
        cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target" \
        --no-build-deps --override-filename "$raw"
    mv "$raw.json" "$out/raw.json"
    linked >"$out/linked"
    python3 tests/conformance/bom.py "$out/raw.json" "$PWD" <"$out/linked" >"$bom"
    crates=$(wc -l <"$out/linked")
    ((crates > 100)) || { echo "image: cargo tree names $crates crates only" >&2; return 1; }
    echo "bill of materials: the $crates crates in the binary, and no other" |
        tee "$reports/image-sbom.summary"
}

[ $# -gt 0 ] || set -- image sbom
for part in "$@"; do
    case $part in
        image | sbom) "$part" ;;
        *)
            echo "image: unknown: $part" >&2
            exit 64
            ;;
    esac
done
