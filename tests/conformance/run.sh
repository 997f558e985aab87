#!/bin/sh
# The conformance tier: csi-sanity, Debian's docker-registry and skopeo, and sidecars against the
# real binary; the image, built and run (image.sh); what real producers make (producers.sh); what
# deploys the driver (manifests.sh); and a trial of the benchmarks. Tools and reports go to .tools/,
# which git ignores. Arguments go to `cargo test`; with any, nothing is built but the driver, and
# the latter three are left out.
set -eu

cd "$(dirname "$0")/../.."
tools=$PWD/.tools
reports=$tools/conformance
sanity=github.com/kubernetes-csi/csi-test/v5
version=v5.5.0 # also in sanity.rs, and the specs-*.txt beside it are this version's

missing=
for tool in docker-registry htpasswd skopeo umoci runc ip unshare; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
if [ -n "$missing" ]; then
    echo "conformance: not found:$missing" >&2
    echo "conformance: apt-get install docker-registry apache2-utils skopeo umoci runc iproute2 util-linux" >&2
    exit 1
fi

# What is there is asked for its version, so that a change of it above is not overlooked.
built() {
    [ -x "$tools/bin/csi-sanity" ] &&
        go version -m "$tools/bin/csi-sanity" | grep -q "mod[[:space:]]$sanity[[:space:]]$version[[:space:]]"
}
if ! command -v go >/dev/null; then
    echo "conformance: Go is needed to build csi-sanity $version: https://go.dev/doc/install" >&2
    exit 1
fi
if ! built; then
    # Statically: it calls nothing of libc's.
    CGO_ENABLED=0 GOBIN=$tools/bin go install "$sanity/cmd/csi-sanity@$version"
fi

# No report of an earlier run may pass for one of this.
rm -rf "$reports"
outcome=0
if [ $# -eq 0 ]; then
    # Unoptimised, which is minutes less; `make image` has the image as it is shipped.
    PROFILE=dev bash tests/conformance/image.sh image || outcome=$?
    # The tool for it takes longer to build than the rest of this tier: `make sbom` does.
    if [ -x .tools/bin/cargo-cyclonedx ]; then
        bash tests/conformance/image.sh sbom || outcome=$?
    else
        sbom="bill of materials: not run: cargo-cyclonedx is not installed (make sbom)"
    fi
fi
SKILLMOUNT_CONFORMANCE=1 cargo test --test conformance "$@" || outcome=$?
if [ $# -eq 0 ]; then
    mkdir -p "$reports"
    bash tests/conformance/producers.sh --install >"$reports/producers.summary" || outcome=$?
    bash tests/conformance/manifests.sh --install >"$reports/manifests.summary" || outcome=$?
    # Only whether the benchmarks still work: small skills, an unoptimised build.
    cargo test --quiet --bench whole -- --quick --json "$reports/benchmark.json" \
        >"$reports/benchmark.log" 2>&1 || { cat "$reports/benchmark.log"; outcome=1; }
fi
cat "$reports"/*.summary 2>/dev/null || true
[ -z "${sbom:-}" ] || echo "$sbom"
exit "$outcome"
