#!/bin/sh
# A real API server, without nodes, on the loopback:
#
#   sh tests/cluster/up.sh               prints the path of an administrator's kubeconfig when it is
#                                        ready, and runs until it is told to stop
#   sh tests/cluster/up.sh COMMAND…      runs COMMAND with KUBECONFIG set and kubectl in
#                                        PATH, then stops
#
# Its directory is new and goes with it; COMMAND finds it as $CLUSTER_DIR, everybody else beside
# the kubeconfig. Files in it that are of use:
#
#   admin.kubeconfig, admin.crt, admin.key   system:masters
#   ca.crt, ca.key                           who signs more clients, see certificates.sh
#   sa.key                                   signs service account tokens
#   url                                      https://127.0.0.1:PORT
#   audit.jsonl                              every request: who, as whom, what, and the answer
#   apiserver.log, etcd.log
#
# RBAC and the Node authorizer decide; NodeRestriction and ServiceAccount are among the admission
# plugins; nobody is anonymous. Feature gates are as Kubernetes 1.36 has them, which turns
# ConstrainedImpersonation on (KEP-5284); $APISERVER_FLAGS adds flags, separated by blanks.
# No controller runs: a new namespace has no service account until it is made.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
bin=${CLUSTER_BIN:-$(cd "$here/../.." && pwd)/.tools/cluster}
for tool in openssl curl setpriv; do
    command -v "$tool" >/dev/null || { echo "cluster: not found: $tool" >&2; exit 1; }
done
[ -n "${CLUSTER_BIN-}" ] || sh "$here/build.sh" etcd kube-apiserver kubectl

umask 077
dir=$(mktemp -d)
etcd='' apiserver='' command=''
# shellcheck disable=SC2317 # called by a trap
stop() {
    trap - EXIT HUP INT TERM
    # etcd last: the API server writes to it until its end.
    for process in $command $apiserver $etcd; do
        kill "$process" 2>/dev/null || continue
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "cluster: $1" >&2
    exit 1
}

# --- Keys and certificates -----------------------------------------------------------------------

cd "$dir"
# shellcheck source-path=SCRIPTDIR
. "$here/certificates.sh"
authority
certificate server /CN=kube-apiserver extendedKeyUsage=serverAuth \
    'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc'
certificate admin /O=system:masters/CN=admin extendedKeyUsage=clientAuth
key sa

# --- etcd, on sockets in the directory -----------------------------------------------------------

# Their names are relative: a socket's has room for a hundred bytes only.
# pdeathsig: they end with this script even if it is killed and cannot stop them.
setpriv --pdeathsig TERM "$bin/etcd" --name one --data-dir etcd --logger zap --log-outputs stderr \
    --listen-client-urls unix://etcd.sock:0 --advertise-client-urls unix://etcd.sock:0 \
    --listen-peer-urls unix://peer.sock:0 --initial-advertise-peer-urls unix://peer.sock:0 \
    --initial-cluster one=unix://peer.sock:0 --unsafe-no-fsync >etcd.log 2>&1 &
etcd=$!

# --- The API server ------------------------------------------------------------------------------

cat >audit.yaml <<'END'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
END

api() { # PATH [OPTION…]
    path=$1
    shift
    curl -sf --max-time 10 --cacert ca.crt --cert admin.crt --key admin.key "$@" \
        "$url$path" >/dev/null
}

# Ports of which one is free, rather than a free one that is taken by the time it is used.
port=46001
while :; do
    url=https://127.0.0.1:$port
    # shellcheck disable=SC2086 # flags, separated by blanks
    setpriv --pdeathsig TERM "$bin/kube-apiserver" --etcd-servers=unix://etcd.sock:0 \
        --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port=$port \
        --endpoint-reconciler-type=none --service-cluster-ip-range=10.96.0.0/24 \
        --tls-cert-file=server.crt --tls-private-key-file=server.key \
        --client-ca-file=ca.crt --anonymous-auth=false \
        --authorization-mode=Node,RBAC \
        --enable-admission-plugins=NodeRestriction,ServiceAccount --allow-privileged=true \
        --service-account-issuer=https://kubernetes.default.svc \
        --service-account-key-file=sa.key --service-account-signing-key-file=sa.key \
        --kubelet-client-certificate=admin.crt --kubelet-client-key=admin.key \
        --kubelet-preferred-address-types=Hostname \
        --audit-policy-file=audit.yaml --audit-log-path=audit.jsonl \
        ${APISERVER_FLAGS-} >apiserver.log 2>&1 &
    apiserver=$!
    while kill -0 "$apiserver" 2>/dev/null && kill -0 "$etcd" 2>/dev/null; do
        ! api /readyz || break 2
        sleep 0.2
    done
    kill "$apiserver" 2>/dev/null || true
    wait "$apiserver" || true
    apiserver=''
    if ! grep -q 'address already in use' apiserver.log || [ $port -ge 46020 ]; then
        fail "the API server did not start: $(tail -n 5 apiserver.log etcd.log)"
    fi
    port=$((port + 1))
done

echo "$url" >url
kubeconfig admin "$url"

# The service account that each namespace has where there is a controller.
api /api/v1/namespaces/default/serviceaccounts --json '{"metadata": {"name": "default"}}' ||
    fail "the service account cannot be made"

if [ $# -gt 0 ]; then
    cd "$here/../.."
    # In the background, as a shell that waits for a child in front hears no signal.
    export PATH="$bin:$PATH" KUBECONFIG="$dir/admin.kubeconfig"
    export CLUSTER_DIR="$dir" CLUSTER_BIN="$bin"
    "$@" &
    command=$!
    outcome=0
    wait "$command" || outcome=$?
    command=''
    exit "$outcome"
fi
echo "$dir/admin.kubeconfig"
while kill -0 "$apiserver" 2>/dev/null; do
    wait "$apiserver" || true
done
fail "the API server ended: $(tail -n 5 "$dir/apiserver.log")"
