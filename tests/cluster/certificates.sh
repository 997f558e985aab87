# shellcheck shell=sh
# The cluster's authority, for up.sh and run.sh to source. All is in the current directory.

# In the form of RFC 5915, the only one that the API server takes for sa.key.
key() { # NAME
    openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
}

authority() {
    key ca
    openssl req -x509 -new -key ca.key -subj /CN=cluster -days 2 -out ca.crt
}

# A client's subject is its user, /CN=, and its groups, /O=.
certificate() { # NAME SUBJECT EXTENSION…
    key "$1"
    openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
    name=$1
    shift 2
    printf '%s\n' "$@" >"$name.ext"
    openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
        -extfile "$name.ext" -out "$name.crt" 2>/dev/null
    rm "$name.csr" "$name.ext"
}

kubeconfig() { # NAME URL
    cat >"$1.kubeconfig" <<END
apiVersion: v1
kind: Config
current-context: cluster
clusters: [{name: cluster, cluster: {server: "$2", certificate-authority: $PWD/ca.crt}}]
users: [{name: $1, user: {client-certificate: $PWD/$1.crt, client-key: $PWD/$1.key}}]
contexts: [{name: cluster, context: {cluster: cluster, user: $1}}]
END
}
