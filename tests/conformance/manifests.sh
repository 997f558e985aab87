#!/usr/bin/env bash
# What deploys the driver: overlays with sets of components, and the Helm chart with the values that
# fit, are the same objects; all of it holds against Kubernetes' own schemas, unknown
# fields refused; the driver takes the arguments that the chart passes. Prints a table. A tool that
# cannot be had is a row "not run"; it does not count as passed.
#
#   tests/conformance/manifests.sh [--install]
#
# --install gets tools and schemas by Go into .tools/, where tools are looked for before PATH.
# $SKILLMOUNT is the binary, else what `cargo build` made.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=$PWD/.tools
chart=deploy/helm/skillmount
kustomize=deploy/kustomize
namespace=skillmount

modules=(
    helm.sh/helm/v4/cmd/helm@v4.0.5
    sigs.k8s.io/kustomize/kustomize/v5@v5.8.1
    github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0
    github.com/zegl/kube-score/cmd/kube-score@v1.20.0
)
# The oldest Kubernetes that is supported, and the newest.
versions=(v1.25.16 v1.36.2)
# Helm without a cluster, and built by hand, has to be told.
newest=${versions[1]}

# What no schema of Kubernetes knows: kinds of the Prometheus Operator.
foreign=PodMonitor,PrometheusRule
# And in the book: those of kustomize, kubelet, kagent and kagenti.
foreign_in_book=Kustomization,CredentialProviderConfig,Agent,AgentRuntime

# Beside what a cluster of one's own has to have: the pieces, and the values that do the same.
overlays=(base k3s microk8s k0s openshift)
components=(monitoring dashboard network-policy credential-providers registry-hosts)
# One of them or none, and after the others.
accesses=('' secret-access-pod-token secret-access-impersonate secret-access-driver)
# With none of the components or all, since every one more would double the sets; after the access,
# as its comment says.
last=('' events)
# With nothing else, and with all of the components.
alone=(host-network)
# Not combined: microk8s uses the one, the accesses and events the other.
used=(kubelet-root api-server-egress)
declare -A values=(
    [base]=''
    [k3s]=''
    [microk8s]='kubeletDir=/var/snap/microk8s/common/var/lib/kubelet'
    [k0s]='kubeletDir=/var/lib/k0s/kubelet'
    [openshift]='openshift.enabled=true'
    [monitoring]='podMonitor.enabled=true,prometheusRule.enabled=true'
    [dashboard]='dashboard.enabled=true'
    [network-policy]='networkPolicy.enabled=true'
    [registry-hosts]='registry.hostsDir=/etc/containerd/certs.d'
    [events]='events.enabled=true'
    [host-network]='hostNetwork=true'
    [secret-access-pod-token]='secretAccess.mode=pod-token'
    [secret-access-impersonate]='secretAccess.mode=impersonate'
    [secret-access-driver]='secretAccess.mode=driver'
)
providers=/etc/kubernetes/credential-provider
values[credential-providers]=credentialProviders.config=$providers-config.yaml
values[credential-providers]+=,credentialProviders.binDir=${providers}s

# What kube-score asks for and does not get, and why.
exceptions=(
    # Mounts have to propagate to the host, which Kubernetes allows to privileged containers only.
    container-security-context-privileged
    # Trees belong to root, because all pods share them.
    container-security-context-user-group-id
    # A version is never pushed twice; a node that restarts must not need the registry.
    container-image-pull-policy
    # It is idle but for pulls, and pods wait for those: what a limit takes away, they lose.
    container-resources
    # Nothing is written but to the state directory of the node, and that is what gc.* bounds.
    container-ephemeral-storage-request-and-limit
)

install_tools() {
    local module version command
    for module in "${modules[@]}"; do
        version=${module##*@}
        command=${module%@*}
        command=$tools/bin/$(basename "${command%/v[0-9]}")
        if [ -x "$command" ] &&
            go version -m "$command" | grep -q "mod.*${version}[[:space:]]"; then
            continue
        fi
        CGO_ENABLED=0 GOBIN=$tools/bin timeout 1200 go install "$module" ||
            echo "manifests: cannot install $module" >&2
    done
    # The document is in the module that Kubernetes is built from; nothing of it is compiled.
    local module_dir
    for version in "${versions[@]}"; do
        [ ! -d "$tools/schemas/$version" ] || continue
        rm -rf "$tools/schemas/new"
        module_dir=$(timeout 300 go mod download -json "k8s.io/kubernetes@$version" |
            sed -n 's/^.*"Dir": "\(.*\)",*$/\1/p') &&
            python3 tests/conformance/schemas.py \
                "$module_dir/api/openapi-spec/swagger.json" "$tools/schemas/new" &&
            mv "$tools/schemas/new" "$tools/schemas/$version" ||
            echo "manifests: cannot have the schemas of Kubernetes $version" >&2
    done
}
[ "${1-}" != --install ] || install_tools
PATH=$tools/bin:$PATH
skillmount=${SKILLMOUNT:-$PWD/target/debug/skillmount}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Neither reads what the user has set up for clusters, and neither needs one.
export HELM_CACHE_HOME=$work/helm HELM_CONFIG_HOME=$work/helm HELM_DATA_HOME=$work/helm
export KUBECONFIG=/dev/null

failed=0
passes() { printf '  %-12s %s\n' "$1" "$2"; }
fails() {
    printf '  %-12s FAILED: %s\n' "$1" "$2"
    sed 's/^/    /; 20q' "$work/why"
    failed=1
}
# A check that is a command: its output is shown if it fails.
check() {
    local what=$1 name=$2
    shift 2
    if "$@" >"$work/why" 2>&1; then passes "$what" "$name"; else fails "$what" "$name"; fi
}
have() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || {
            printf '  %-12s not run: %s is missing\n' "$what" "$tool"
            return 1
        }
    done
}

render() { # VALUES, and what else helm takes
    local set=$1
    shift
    helm template "$namespace" "$chart" --namespace "$namespace" --kube-version "$newest" \
        ${set:+--set "$set"} "$@"
}

# Objects and fields in one order, without comments. With `helm` as the second argument every object
# has to have Helm's own labels, which are taken away.
canonical() {
    local dir=$work/canonical label
    rm -rf "$dir" && mkdir "$dir" && cp "$1" "$dir/objects.yaml"
    {
        printf '%s\n' 'resources: [objects.yaml]' 'sortOptions: {order: legacy}'
        if [ "${2-}" = helm ]; then
            printf '%s\n' 'patches:' '  - target: {kind: .*}' '    patch: |-'
            for label in app.kubernetes.io~1{instance,managed-by,version} helm.sh~1chart; do
                printf '      - {op: remove, path: /metadata/labels/%s}\n' "$label"
            done
        fi
    } >"$dir/kustomization.yaml"
    kustomize build "$dir"
}

same() { # what kustomize built, what Helm rendered
    canonical "$1" >"$work/ours" && canonical "$2" helm >"$work/helms" &&
        diff -u --label kustomize --label helm "$work/ours" "$work/helms"
}

. tests/conformance/equal.sh

# --- The chart by itself ------------------------------------------------------------------------

# Values that must be refused, and by which words.
refused() {
    local set=$1 words=$2
    ! render "$set" && grep -qF -- "$words" "$work/why"
}

# Paths of the node and of the container become ones that are here.
here() {
    sed "s/^'\(.*\)'$/\1/; s/^\"\(.*\)\"$/\1/
        s,^--endpoint=.*,--endpoint=unix://$work/absent/csi.sock,
        s,^--state-dir=.*,--state-dir=$work/state,
        s,^--registration-dir=.*,--registration-dir=$work/absent,
        s,^--http-endpoint=.*,--http-endpoint=,
        s,=/etc/skillmount/ca/.*,=$work/node/ca.crt,
        s,=/etc/skillmount/,=$work/node/,"
}

# What the driver says to the arguments and the environment of the chart: not that they are wrong
# (64). That it cannot serve where there is no directory ends it.
accepted() {
    local arguments=() variables=() outcome=0
    canonical "$1" >"$work/objects"
    mapfile -t arguments < <(here < <(
        sed -n '/^      - args:$/,/^        env:$/s/^        - //p' "$work/objects"))
    mapfile -t variables < <(awk '
        /^        env:$/ { inside = 1; next }
        /^        [a-z]/ { inside = 0 }
        inside && /^        - name: / { name = $3 }
        inside && /^          value: / { gsub(/"/, "", $2); print name "=" $2 }' "$work/objects" | here)
    echo "${variables[@]}" "${arguments[@]}"
    [ "${arguments[0]}" = node ] || return 1
    ((${#arguments[@]} > ${2:-4} && ${#variables[@]} >= ${3:-1})) || return 1
    env -i NODE_NAME=node "${variables[@]}" timeout 20 "$skillmount" "${arguments[@]}" || outcome=$?
    [ "$outcome" = 1 ]
}

# Of a node, what the driver looks at when it starts.
node_files() {
    local node=$work/node
    mkdir -p "$node"/providers/{config,bin} "$node"/{kubeconfig,registries}
    : >"$node/registries/registries.conf"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=authority \
        -days 2 -keyout "$work/ca.key" -out "$node/ca.crt"
    install -m 755 /dev/null "$node/providers/bin/example"
    printf '%s\n' 'apiVersion: kubelet.config.k8s.io/v1' 'kind: CredentialProviderConfig' \
        'providers:' '  - name: example' '    matchImages: ["*.example.com"]' \
        '    defaultCacheDuration: 1m' '    apiVersion: credentialprovider.kubelet.k8s.io/v1' \
        >"$node/providers/config/example.yaml"
    printf '%s\n' 'current-context: here' 'contexts: [{name: here, context: {cluster: here}}]' \
        'clusters: [{name: here, cluster: {server: "https://api.example"}}]' \
        >"$node/kubeconfig/config"
}

chart_by_itself() {
    local what=helm every=tests/conformance/values.yaml
    have helm || return 0
    check lint "default values" helm lint --strict --kube-version "$newest" "$chart"
    check lint "every value" helm lint --strict --kube-version "$newest" "$chart" -f "$every"
    check template "every value" render '' -f "$every"
    render '' -f "$every" >"$work/every.helm.yaml" || true
    check template "no HTTP" render http.enabled=false
    render http.enabled=false,networkPolicy.enabled=true >"$work/quiet.helm.yaml" || true
    # Kubernetes 1.35 was the first to know it.
    render 'csiDriver.serviceAccountTokenInSecrets=true,secretAccess.mode=pod-token' \
        >"$work/newest.yaml"
    check package "default values" helm package "$chart" --destination "$work"
    check refused "a label that is none" refused selinuxLabel=container_ro_file_t '/selinuxLabel'
    check refused "an unknown value" refused gc.highTreshold=90 "'highTreshold' not allowed"
    check refused "a value of another type" refused 'http.port="9808"' '/http/port'
    check refused "a value out of range" refused pull.maxConcurrent=0 '/pull/maxConcurrent'
    check refused "the state below kubelet's directory" \
        refused stateDir=/var/lib/kubelet/skills 'stateDir must be outside of kubeletDir'
    check refused "a PodMonitor of nothing" \
        refused http.enabled=false,podMonitor.enabled=true 'podMonitor.enabled needs http.enabled'
    check refused "an allow-list without its policy" refused 'credentials.verifyAllow={a/b}' \
        'credentials.verifyAllow needs credentials.verificationPolicy'
    check refused "an access that there is not" refused secretAccess.mode=all '/secretAccess/mode'
    check refused "a kubeconfig that nobody reads" refused \
        secretAccess.kubeconfig.secret=a,secretAccess.kubeconfig.file=b 'needs a secretAccess.mode or events.enabled'
    check refused "credential providers without programs" refused \
        credentialProviders.config=/etc/providers.yaml 'credentialProviders.binDir go together'
    check refused "files for no program" refused 'credentialProviders.files={/etc/azure.json}' \
        'credentialProviders.files needs credentialProviders.config'
    check refused "tokens in Secrets without tokens" refused \
        csiDriver.serviceAccountTokenInSecrets=true 'TokenInSecrets needs csiDriver.tokenRequests'
    what=arguments
    have kustomize openssl "$skillmount" || return 0
    node_files 2>"$work/why"
    check "$what" "default values" accepted "$work/defaults"
    check "$what" "every value" accepted "$work/every.helm.yaml" 30 6
}

# --- Kubernetes' schemas ------------------------------------------------------------------------

conform() { # VERSION FILE…
    local schemas=$tools/schemas/$1
    shift
    kubeconform -strict -skip "$foreign" \
        -schema-location "$schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$@"
}

# The whole manifests of the book's pages. For the newest only: it shows image volumes too.
book() {
    SKILLMOUNT_DOCS_YAML_OUT=$work/book \
        "${CARGO:-cargo}" test --quiet --test docs every_manifest_says_what_it_is &&
        foreign=$foreign_in_book conform "$newest" "$work"/book/*.yaml
}

unknown_field() {
    sed 's/attachRequired:/attachRequird:/' "$kustomize/base/csidriver.yaml" >"$work/typo.yaml"
    ! conform "$1" "$work/typo.yaml"
}

schemas() {
    local what=schema version samples
    have kubeconform kustomize helm || return 0
    for version in "${versions[@]}"; do
        if [ ! -d "$tools/schemas/$version" ]; then
            printf '  %-12s not run: the schemas of %s are missing\n' "$what" "$version"
            continue
        fi
        samples=(deploy/samples/*.yaml)
        if [ "$version" = "${versions[0]}" ]; then
            # A kind of 1.30.
            samples=(deploy/samples/pod-*.yaml)
        fi
        check "$what" "$version: what kustomize built, and Helm, ${foreign/,/ and } left out" \
            conform "$version" "$work"/built/*.yaml "$work"/*.helm.yaml
        check "$what" "$version: samples" conform "$version" "${samples[@]}"
        check "$what" "$version: an unknown field is refused" unknown_field "$version"
        [ "$version" = "$newest" ] || continue
        check "$what" "$version: tokens in Secrets" conform "$version" "$work/newest.yaml"
        check "$what" "$version: the book, ${foreign_in_book//,/, } left out" book
    done
}

# --- Good practice ------------------------------------------------------------------------------

score() { # FILE [EXCEPTION THAT IS NOT MADE]
    local options=() exception
    for exception in "${exceptions[@]}"; do
        [ "$exception" = "${2-}" ] || options+=(--ignore-test "$exception")
    done
    kube-score score "${options[@]}" --enable-optional-test container-seccomp-profile \
        --enable-optional-test container-ports-check "$1"
}

unneeded() {
    local exception
    for exception in "${exceptions[@]}"; do
        ! score "$1" "$exception" >/dev/null 2>&1 || echo "$exception"
    done
}

practice() {
    local what=kube-score built=$work/built/base access with
    have kube-score kustomize helm || return 0
    for access in "${accesses[@]}"; do
        with=network-policy${access:++$access}
        check "$what" "kustomize, base+$with" score "$built+$with.yaml"
        check "$what" "Helm, base+$with" score "$built+$with.helm.yaml"
    done
    check "$what" "every exception is needed" diff /dev/null <(unneeded "$built+network-policy.yaml")
}

echo "manifests"
kustomize_and_helm
chart_by_itself
schemas
practice
exit "$failed"
