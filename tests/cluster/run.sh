#!/bin/sh
# The driver with a real kubelet, containerd and API server on this machine: `make cluster`.
#
# Prints `ok NAME` or `not ok NAME: why` for each step, and fails if one does. Wants root, for the
# node's mounts and containers; all of them are in namespaces, nothing is left behind, and no
# container has a network of its own. Logs are kept in .tools/cluster/logs/.
#
# $SKILLMOUNT is the driver, else what `cargo build` makes.
# shellcheck disable=SC2317 # steps are called by their names
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

if [ -z "${CLUSTER_DIR-}" ]; then
    missing=
    for tool in containerd runc busybox docker-registry htpasswd skopeo umoci openssl curl \
        unshare nsenter setpriv; do
        command -v "$tool" >/dev/null || missing="$missing $tool"
    done
    if [ -n "$missing" ]; then
        echo "cluster: not found:$missing" >&2
        echo "cluster: apt-get install containerd runc busybox-static docker-registry" \
            "apache2-utils skopeo umoci openssl curl util-linux" >&2
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "cluster: kubelet and containerd want root" >&2
        exit 1
    fi
    if [ -z "${SKILLMOUNT-}" ]; then
        (cd "$root" && ${CARGO:-cargo} build --bin skillmount)
        export SKILLMOUNT="${CARGO_TARGET_DIR:-$root/target}/debug/skillmount"
    fi
    [ -n "${CLUSTER_BIN-}" ] || sh "$here/build.sh"
    exec sh "$here/up.sh" sh "$here/run.sh"
fi

skillmount=$SKILLMOUNT
failed=0

fail() {
    echo "cluster: $1" >&2
    exit 1
}

# Runs a command until it succeeds, for so many seconds.
eventually() { # SECONDS COMMAND…
    deadline=$(($(date +%s) + $1))
    shift
    until "$@"; do
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

# shellcheck source-path=SCRIPTDIR
. "$here/certificates.sh"
# shellcheck source-path=SCRIPTDIR
. "$here/registry.sh"
# shellcheck source-path=SCRIPTDIR
. "$here/node.sh"
# shellcheck source-path=SCRIPTDIR
. "$here/images.sh"

finish() {
    trap - EXIT HUP INT TERM
    power_off
    stop_registry
    logs=$root/.tools/cluster/logs
    mkdir -p "$logs"
    cp "$CLUSTER_DIR"/*.log "$logs/"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# A step is a function that says on its output why it failed. The next ones run all the same.
step() { # NAME
    if "step_$(echo "$1" | tr - _)" >"$CLUSTER_DIR/step-$1.log" 2>&1; then
        echo "ok $1"
    else
        failed=1
        echo "not ok $1: $(tail -n 3 "$CLUSTER_DIR/step-$1.log" | tr '\n' ' ')"
    fi
}

# --- What steps are made of ----------------------------------------------------------------------

source=$root/examples/skills/code-review

pod() { # NAME SECRET
    sed "s|NAME|$1|; s|SECRET|$2|; s|REFERENCE|$host/team/code-review:v1|" \
        "$here/manifests/pod.yaml" | kubectl create -f -
}

secret() { # NAME PASSWORD
    kubectl create secret docker-registry "$1" --docker-server="$host" \
        --docker-username="$user" --docker-password="$2"
}

running() { # POD
    kubectl wait --for=condition=Ready --timeout=120s "pod/$1" ||
        { kubectl get events --field-selector "involvedObject.name=$1" && false; }
}

# The pod sees what was pushed, name by name and byte by byte, and cannot change it.
reads() { # POD
    # shellcheck disable=SC2016 # for the pod's shell
    sums='cd "$0" && find . -type f -exec sha256sum {} + | sort -k 2'
    expected=$(LC_ALL=C sh -c "$sums" "$source")
    found=$(kubectl exec "$1" -- sh -c "$sums" /skills/code-review) || return
    [ "$found" = "$expected" ] || { echo "the files differ: $found"; return 1; }
    if answer=$(kubectl exec "$1" -- touch /skills/code-review/new 2>&1); then
        echo "the volume can be written"
        return 1
    fi
    case $answer in
        *"Read-only file system"*) ;;
        *) echo "$answer"; return 1 ;;
    esac
}

field() { kubectl get pod "$1" -o "jsonpath={$2}"; }
uid() { field "$1" .metadata.uid; }
restarts() { field "$1" '.status.containerStatuses[0].restartCount'; }
mounted() { # UID TIMES
    times=$(on_node cat /proc/self/mountinfo | grep -c "pods/$1/volumes/kubernetes.io~csi/")
    [ "$times" = "$2" ] || { echo "it is mounted $times times"; return 1; }
}
failures() { # POD
    kubectl get events --field-selector "involvedObject.name=$1,reason=FailedMount" \
        -o 'jsonpath={range .items[*]}{.message}{"\n"}{end}'
}

# --- Steps ---------------------------------------------------------------------------------------

step_registration() {
    eventually 60 known || {
        grep -o 'Error: RegisterPlugin error.*' "$CLUSTER_DIR/kubelet.log" | tail -n 1
        return 1
    }
}
known() {
    drivers=$(kubectl get csinode localhost -o 'jsonpath={.spec.drivers[*].name}') &&
        [ "$drivers" = csi.skillmount.dev ]
}

step_private_skill() {
    secret good "$password" && pod good good && running good && reads good
}

step_wrong_secret() {
    secret wrong guess && pod wrong wrong || return
    eventually 60 refused || { failures wrong; return 1; }
    if kubectl get events -o json | grep -e guess -e "$password"; then
        echo "an event has a password"
        return 1
    fi
    kubectl delete pod wrong --timeout=60s
}
# To the letter as in docs/troubleshooting.md.
refused() {
    failures wrong | grep -F "MountVolume.SetUp failed for volume \"skill\" : rpc error: \
code = Unauthenticated desc = cannot pull $host/team/code-review:v1 (logins: nodePublishSecretRef: \
$host): resolving the reference: the registry accepted no matching credential: \
nodePublishSecretRef key \".dockerconfigjson\", entry \"$host\": 401 Unauthorized: authentication \
required"
}

# A pod that waits for its Secret goes on once there is one.
step_late_secret() {
    pod late late || return
    eventually 60 waits || { failures late; return 1; }
    secret late "$password" && running late && reads late
}
waits() { failures late | grep -F '"late" not found'; }

# Mounted volumes do not need the driver, and it finds them again.
step_driver_restart() {
    kill_now driver && reads good || return
    start_driver
    pod second good && running second && reads second && reads good && mounted "$(uid good)" 1 &&
        [ "$(restarts good)" = 0 ]
}

# A pod that is deleted while there is no driver goes once there is one again.
step_deletion_without_driver() {
    second=$(uid second)
    kill_now driver && kubectl delete pod second --wait=false || return
    eventually 60 unmounting || { echo "kubelet did not try to unmount"; return 1; }
    mounted "$second" 1 || return
    start_driver
    kubectl wait --for=delete --timeout=180s pod/second && gone "$second"
}
# Whether kubelet has noticed that the driver is gone or not.
unmounting() {
    grep -Eq 'UnmountVolume.*csi\.skillmount\.dev.*(connect|not found in the list of registered)' \
        "$CLUSTER_DIR/kubelet.log"
}

# A power cut: no process, no mount, nothing in /run; disks as they were.
step_reboot() {
    before=$(restarts good)
    power_off
    boot
    eventually 120 restarted || { kubectl get pods; failures good; return 1; }
    running good && reads good && running late && reads late && mounted "$(uid good)" 1
}
restarted() { [ "$(restarts good)" -gt "$before" ]; }

step_deletion() {
    good=$(uid good) late=$(uid late)
    mounted "$good" 1 && kubectl delete pod good late --timeout=120s && gone "$good" &&
        gone "$late" || return
    ! "$skillmount" volumes --state-dir "$disk/skillmount" | grep -e "$good" -e "$late"
}
gone() { # UID
    if ! eventually 60 on_node test ! -e "/var/lib/kubelet/pods/$1"; then
        echo "its directory is still there"
        return 1
    fi
    mounted "$1" 0
}

# What is deployed on clusters, in a container; the pod is made here since nothing else makes it.
step_daemonset() {
    pod old good && running old && kill_now driver && import_driver || return
    kubectl apply -k "$here/manifests/driver" &&
        kubectl -n skillmount create configmap skillmount-ca --from-file="$CLUSTER_DIR/ca.crt" &&
        spec=$(kubectl -n skillmount get daemonset skillmount-node \
            -o 'jsonpath={.spec.template.spec}') || return
    kubectl -n skillmount create -f - <<END || return
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "skillmount-node"}, "spec": $spec}
END
    kubectl -n skillmount wait --for=condition=Ready --timeout=120s pod/skillmount-node ||
        { kubectl -n skillmount logs skillmount-node; return 1; }
    pod new good && running new && reads new && reads old || return
    old=$(uid old) new=$(uid new)
    mounted "$old" 1 && mounted "$new" 1 && kubectl delete pod old new --timeout=120s &&
        gone "$old" && gone "$new"
}

# --- All of them ---------------------------------------------------------------------------------

boot() {
    power_on
    start_containerd
    start_kubelet
    start_driver
}

cd "$CLUSTER_DIR"
certificate node /O=system:nodes/CN=system:node:localhost extendedKeyUsage=clientAuth
kubeconfig node "$(cat url)"
start_registry
push "$source" team/code-review:v1 >push.log 2>&1 ||
    fail "the skill cannot be pushed: $(tail -n 3 push.log)"
kubectl apply -f "$root/deploy/kustomize/base/csidriver.yaml" >/dev/null
power_on
sed "s|PORT|$kubelet_port|; s|CLUSTER|$CLUSTER_DIR|; s|CGROUP|$cgroup|" \
    "$here/manifests/kubelet.yaml" >"$disk/kubelet.yaml"
start_containerd
import_busybox >images.log 2>&1 ||
    fail "the image cannot be imported: $(tail -n 3 images.log)"
start_kubelet
start_driver

step registration
# Without it no pod starts, and nothing else can be seen.
[ $failed = 0 ] || exit 1
for name in private-skill wrong-secret late-secret driver-restart deletion-without-driver reboot \
    deletion daemonset; do
    step $name
done
exit $failed
