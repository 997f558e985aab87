# shellcheck shell=sh
# shellcheck disable=SC2154 # variables of run.sh
# Container images that come from no registry, for run.sh to source after node.sh.

# For pods and their sandboxes: Debian's static busybox, and nothing to do until it is killed.
import_busybox() {
    files=$CLUSTER_DIR/busybox
    mkdir -p "$files/bin"
    cp "$(command -v busybox)" "$files/bin/busybox"
    for applet in sh cat find ls sha256sum sleep sort touch; do
        ln -s busybox "$files/bin/$applet"
    done
    import busybox '"Cmd": ["/bin/sleep", "100000000"], "Env": ["PATH=/bin"]'
}

# As the Dockerfile's, but for the libraries that a binary of `cargo build` wants.
import_driver() {
    files=$CLUSTER_DIR/skillmount
    mkdir -p "$files"
    cp "$skillmount" "$files/skillmount"
    for library in $(ldd "$skillmount" | grep -o '/[^ ]*'); do
        mkdir -p "$files${library%/*}"
        cp "$library" "$files$library"
    done
    import skillmount '"User": "0:0", "Entrypoint": ["/skillmount"]'
}

import() { # NAME CONFIG
    image=$CLUSTER_DIR/$1.image
    mkdir -p "$image"
    chmod -R u=rwX,go=rX "$CLUSTER_DIR/$1"
    tar -C "$CLUSTER_DIR/$1" --owner=0 --group=0 --sort=name -cf "$image/layer.tar" .
    case $(uname -m) in
        x86_64) architecture=amd64 ;;
        aarch64) architecture=arm64 ;;
        *) architecture=$(uname -m) ;;
    esac
    sum=$(sha256sum <"$image/layer.tar")
    cat >"$image/config.json" <<END
{"architecture": "$architecture", "os": "linux", "config": {$2},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:${sum%% *}"]}}
END
    cat >"$image/manifest.json" <<END
[{"Config": "config.json", "RepoTags": ["localhost/$1:1"], "Layers": ["layer.tar"]}]
END
    tar -C "$image" -cf "$image.tar" manifest.json config.json layer.tar
    on_node ctr --address /run/containerd/containerd.sock --namespace k8s.io images import \
        "$image.tar"
}
