# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034 # variables of run.sh, and for it
# One node, for run.sh to source: containerd, kubelet and the driver, in namespaces that
# node-init.sh furnishes. Wants $CLUSTER_DIR, $CLUSTER_BIN, $here, $skillmount and `fail`.

disk=$CLUSTER_DIR/node
cgroup=/skillmount-test-$$
node=''
# API servers of other clusters have other ports, and so have their nodes.
kubelet_port=$(($(sed 's/.*://' "$CLUSTER_DIR/url") + 100))

on_node() { nsenter --target "$(cat "$disk/init")" --mount --pid -- "$@"; }

# Starts a program of the node: its log is appended to, its number inside is kept.
serve() { # NAME COMMAND…
    program=$1
    shift
    # shellcheck disable=SC2016 # for the inner shell
    on_node sh -c 'umask 022; echo $$ >"$1"; shift; exec "$@"' - "$disk/$program.pid" "$@" \
        >>"$CLUSTER_DIR/$program.log" 2>&1 &
}

# --- Power ---------------------------------------------------------------------------------------

power_on() {
    mkdir -p "$disk"
    rm -f "$disk/init"
    # The node ends with this script, even if it is killed and cannot stop it.
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --propagation private \
        sh "$here/node-init.sh" "$disk" >>"$CLUSTER_DIR/node.log" 2>&1 &
    node=$!
    eventually 10 test -s "$disk/init" ||
        fail "the node does not start: $(cat "$CLUSTER_DIR/node.log")"
    for hierarchy in $(hierarchies); do
        mkdir -p "$hierarchy$cgroup"
    done
}

power_off() {
    [ -n "$node" ] || return 0
    # With the first process all go that are in its PID namespace, and the kernel waits for them.
    kill -9 "$(cat "$disk/init")" 2>/dev/null || true
    wait "$node" 2>/dev/null || true
    node=''
    for hierarchy in $(hierarchies); do
        [ ! -d "$hierarchy$cgroup" ] || find "$hierarchy$cgroup" -depth -type d -exec rmdir {} +
    done
}

# Of version 1 many, of version 2 one.
hierarchies() {
    awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts
}

# --- Programs ------------------------------------------------------------------------------------

start_containerd() {
    serve containerd containerd --config "$here/manifests/containerd.toml"
    eventually 30 on_node ctr --address /run/containerd/containerd.sock version >/dev/null 2>&1 ||
        fail "containerd does not start: $(tail -n 5 "$CLUSTER_DIR/containerd.log")"
}

start_kubelet() {
    serve kubelet "$CLUSTER_BIN/kubelet" --config "$disk/kubelet.yaml" \
        --kubeconfig "$CLUSTER_DIR/node.kubeconfig" --hostname-override localhost
}

start_driver() {
    # The DaemonSet's host paths.
    on_node mkdir -p /var/lib/kubelet/plugins/csi.skillmount.dev /var/lib/kubelet/plugins_registry
    serve driver "$skillmount" node --node-id localhost \
        --endpoint unix:///var/lib/kubelet/plugins/csi.skillmount.dev/csi.sock \
        --registration-dir /var/lib/kubelet/plugins_registry \
        --ca-file "$CLUSTER_DIR/ca.crt" --pull-backoff 0 --gc-high-threshold 100
}

# As a crash: nothing is told to it, and it is gone on return.
kill_now() { # NAME
    pid=$(cat "$disk/$1.pid")
    on_node kill -9 "$pid" && eventually 10 on_node test ! -e "/proc/$pid"
}
