#!/bin/sh
# Builds what the cluster is made of, out of go.mod's versions, into .tools/cluster/:
#
#   sh tests/cluster/build.sh [etcd] [kube-apiserver] [kubectl] [kubelet]
#
# Without arguments all four. What is there in the version wanted is not built again. The first
# build compiles half of Kubernetes: see docs/testing.md for how long that takes.
set -eu

cd "$(dirname "$0")"
bin=$PWD/../../.tools/cluster
version_of() { sed -n "s|^[[:space:]]*$1 \(v[^ ]*\).*|\1|p" go.mod; }
kubernetes=$(version_of k8s.io/kubernetes)
etcd=$(version_of go.etcd.io/etcd/server/v3)

if ! command -v go >/dev/null; then
    echo "cluster: Go is needed to build Kubernetes $kubernetes: https://go.dev/doc/install" >&2
    exit 1
fi
[ $# -gt 0 ] || set -- etcd kube-apiserver kubectl kubelet

# Kubernetes tells its version by what the linker is told; without it the node says v0.0.0.
minor=${kubernetes#v1.}
minor=${minor%%.*}
stamp=k8s.io/component-base/version
stamp="-X $stamp.gitVersion=$kubernetes -X $stamp.gitMajor=1 -X $stamp.gitMinor=$minor"

for tool; do
    case $tool in
        etcd) package=go.etcd.io/etcd/server/v3 module=$package version=$etcd ;;
        *) package=k8s.io/kubernetes/cmd/$tool module=k8s.io/kubernetes version=$kubernetes ;;
    esac
    if [ -x "$bin/$tool" ] && go version -m "$bin/$tool" |
        grep -q "[[:space:]]${module}[[:space:]]${version}[[:space:]]"; then
        continue
    fi
    # Slowly rather than in everybody's way; statically, since none of them needs libc.
    CGO_ENABLED=0 nice -n 19 go build -p "${JOBS:-2}" -mod=readonly -trimpath \
        -ldflags="-s -w $stamp" -o "$bin/$tool" "$package"
done
