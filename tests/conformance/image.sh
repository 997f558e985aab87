#!/usr/bin/env bash
# Builds the image without a registry to pull base images from: this machine's Rust takes the place
# of the Dockerfile's first stage, and buildah makes its last stage as it stands. Leaves an OCI
# layout and a software bill of materials in .tools/image/. image.rs looks at the one and runs it;
# the other is compared with what cargo says here.
#
#   tests/conformance/image.sh [image] [sbom]
#
# Both by default. $PROFILE is cargo's, `dist` as in the Dockerfile if it is not set.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=$PWD/.tools
out=$tools/image
target=$(uname -m)-unknown-linux-musl
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

image() {
    needs buildah:buildah musl-gcc:musl-tools
    local authorities=/etc/ssl/certs/ca-certificates.crt
    [ -s "$authorities" ] || needs update-ca-certificates:ca-certificates
    rm -rf "$out/context" "$out/build" "$out/oci"
    mkdir -p "$out/context" "$out/build/etc/ssl/certs"

    # What the first stage sees has to be enough for its command.
    local copied build="cargo build --profile dist --locked --bin skillmount --target"
    copied=$(sources)
    grep -qF "$build" Dockerfile || { echo "image: the Dockerfile does not: $build" >&2; return 1; }
    xargs cp -at "$out/context" <<<"$copied"
    if command -v rustup >/dev/null; then
        rustup --quiet target add "$target"
    fi
    local binaries=${CARGO_TARGET_DIR:-$PWD/target}
    (cd "$out/context" && CARGO_TARGET_DIR=$binaries \
        cargo build --profile "$profile" --locked --bin skillmount --target "$target")

    # The two files that the last stage takes from the first.
    cp "$binaries/$target/$profile/skillmount" "$out/build/"
    cp -L "$authorities" "$out/build/etc/ssl/certs/"
    sed -n '/^FROM scratch$/,$p' Dockerfile >"$out/Dockerfile"
    # A store of its own, of the kind that needs nothing of the kernel.
    local buildah=(buildah --root "$out/storage" --runroot "$out/run" --storage-driver vfs)
    "${buildah[@]}" bud --quiet --timestamp "$(git log -1 --format=%ct)" \
        --build-context build="$out/build" --build-arg REVISION="$(git rev-parse HEAD)" \
        --file "$out/Dockerfile" --tag skillmount "$out/context"
    "${buildah[@]}" push --quiet skillmount "oci:$out/oci:skillmount"
    "${buildah[@]}" rmi --all --force >/dev/null
}

# `name version` of every crate that is linked into the binary.
linked() {
    cargo tree --locked --edges normal --target "$target" --prefix none --format '{p}' |
        sed 's/^\([^ ]*\) v\([^ ]*\).*/\1 \2/' | LC_ALL=C sort -u
}

sbom() {
    needs python3:python3
    local summary=$tools/conformance/image-3-sbom.summary raw=skillmount.cdx crates
    if [[ $("$tools/bin/cargo-cyclonedx" cyclonedx --version 2>/dev/null) != *" $cyclonedx" ]]; then
        # Without optimisation, because it runs for a second.
        cargo install --quiet --locked --debug --root "$tools" cargo-cyclonedx@$cyclonedx
    fi
    mkdir -p "$out" "${summary%/*}"
    # It writes beside Cargo.toml only. With a date of its own, so that it can be made again.
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) PATH=$tools/bin:$PATH \
        cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target" \
        --no-build-deps --override-filename "$raw"
    mv "$raw.json" "$out/raw.json"
    linked >"$out/linked"
    python3 tests/conformance/bom.py "$out/raw.json" "$PWD" <"$out/linked" >"$bom"
    crates=$(wc -l <"$out/linked")
    ((crates > 100)) || { echo "image: cargo tree names $crates crates only" >&2; return 1; }
    echo "bill of materials: the $crates crates in the binary, and no other" | tee "$summary"
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
