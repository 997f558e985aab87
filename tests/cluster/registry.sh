# shellcheck shell=sh
# Debian's docker-registry with a login and TLS by the cluster's authority, and a skill in it, for
# run.sh to source. Wants $CLUSTER_DIR, certificates.sh and `fail`.

user=robot
password=cluster-password
registry=''

start_registry() {
    mkdir "$CLUSTER_DIR/registry"
    cd "$CLUSTER_DIR" || return
    certificate registry /CN=registry extendedKeyUsage=serverAuth subjectAltName=IP:127.0.0.1
    # -B, bcrypt, is the only form that docker-registry reads.
    htpasswd -Bbn "$user" "$password" >registry.htpasswd
    # Ports of which one is free, rather than a free one that is taken by the time it is used.
    port=46201
    while [ $port -le 46220 ]; do
        host=127.0.0.1:$port
        cat >registry.yml <<END
version: 0.1
storage: {filesystem: {rootdirectory: '$CLUSTER_DIR/registry'}}
auth: {htpasswd: {realm: cluster, path: '$CLUSTER_DIR/registry.htpasswd'}}
http:
  addr: '$host'
  secret: of-no-value
  tls: {certificate: '$CLUSTER_DIR/registry.crt', key: '$CLUSTER_DIR/registry.key'}
END
        OTEL_TRACES_EXPORTER=none setpriv --pdeathsig TERM \
            docker-registry serve registry.yml >registry.log 2>&1 &
        registry=$!
        while kill -0 $registry 2>/dev/null; do
            ! registry_answers || return 0
            sleep 0.1
        done
        port=$((port + 1))
    done
    fail "docker-registry does not start: $(tail -n 3 registry.log)"
}

registry_answers() {
    curl -sf --cacert ca.crt --user "$user:$password" "https://$host/v2/" >/dev/null
}

stop_registry() {
    [ -z "$registry" ] || kill "$registry" 2>/dev/null || true
}

# As an image with the skill at its root; producers.sh has all the other ways.
push() { # DIRECTORY REPOSITORY:TAG
    mkdir "$CLUSTER_DIR/trust"
    cp "$CLUSTER_DIR/ca.crt" "$CLUSTER_DIR/trust/"
    layout=$CLUSTER_DIR/layout
    umoci init --layout "$layout"
    umoci new --image "$layout:1"
    umoci insert --rootless --image "$layout:1" "$1" /
    skopeo copy --quiet --insecure-policy --dest-cert-dir "$CLUSTER_DIR/trust" \
        --dest-creds "$user:$password" "oci:$layout:1" "docker://$host/$2"
}
