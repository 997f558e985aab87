# Whether kustomize and Helm make the same objects. Read by manifests.sh.
# shellcheck shell=bash disable=SC2154,SC2034

# Nothing is forgotten: a directory that is new has to be named above.
all_named() {
    diff <(printf '%s\n' "${overlays[@]:1}" | sort) <(ls "$kustomize/overlays") &&
        diff <(printf '%s\n' "${components[@]}" "${accesses[@]:1}" "${last[@]:1}" "${alone[@]}" \
            "${used[@]}" | sort) <(ls "$kustomize/components")
}

# Two of the components that let the API server be reached: kustomize has the rule twice, Helm once.
once() {
    printf '%s\n' 'patches:' '  - target: {kind: NetworkPolicy}' \
        '    patch: "- {op: remove, path: /spec/egress/3}"'
}

# An overlay, the components of which bits are set, an access, and what comes last: $built, and $set
# for Helm.
combine() {
    local overlay=$1 bits=$2 access=$3 end=$4 i dir=$work/overlay up component chosen=()
    local resource=$kustomize/overlays/$overlay
    [ "$overlay" != base ] || resource=$kustomize/base
    rm -rf "$dir" && mkdir "$dir"
    up=$(realpath --relative-to="$dir" .)
    name=$overlay
    set=namespace.create=true${values[$overlay]:+,${values[$overlay]}}
    printf '%s\n' "resources: [$up/$resource]" 'components:' >"$dir/kustomization.yaml"
    for i in "${!components[@]}"; do
        (((bits >> i) & 1)) || continue
        chosen+=("${components[i]}")
    done
    [ -z "$access" ] || chosen+=("$access")
    [ -z "$end" ] || chosen+=("$end")
    for component in "${chosen[@]}"; do
        echo "  - $up/$kustomize/components/$component" >>"$dir/kustomization.yaml"
        name+=" + $component"
        set+=,${values[$component]}
    done
    case "$name" in *network-policy*secret-access*events) once >>"$dir/kustomization.yaml" ;; esac
    built=$work/built/${name// /}.yaml
    kustomize build "$dir" >"$built"
}

# What one combination makes either way.
compare() { # OVERLAY BITS ACCESS LAST
    local name set built
    if combine "$@" 2>"$work/why" &&
        render "$set" >"$work/rendered" 2>"$work/why" &&
        same "$built" "$work/rendered" >"$work/why" 2>&1; then
        cp "$work/rendered" "${built%.yaml}.helm.yaml"
        passes "$what" "$name"
    else
        fails "$what" "$name"
    fi
}

kustomize_and_helm() {
    local what=equal overlay bits access end all=$(((1 << ${#components[@]}) - 1))
    have kustomize helm || return 0
    mkdir "$work/built"
    check complete "overlays and components" all_named
    for overlay in "${overlays[@]}"; do
        for ((bits = 0; bits <= all; bits++)); do
            # Every set with the base; with what is an overlay of it, nothing and everything.
            [ "$overlay" = base ] || ((bits == 0 || bits == all)) || continue
            for access in "${accesses[@]}"; do
                for end in "${last[@]}"; do
                    [ -z "$end" ] || ((bits == 0 || bits == all)) || continue
                    compare "$overlay" "$bits" "$access" "$end"
                done
            done
        done
    done
    for end in "${alone[@]}"; do
        compare base 0 '' "$end"
        compare base "$all" '' "$end"
    done
    check "$what" "default values, but for the Namespace" defaults_differ_by_the_namespace
}

defaults_differ_by_the_namespace() {
    render '' >"$work/defaults"
    ! grep -q '^kind: Namespace' "$work/defaults" &&
        kustomize build "$kustomize/base" >"$work/base" &&
        canonical "$work/base" | without_namespace >"$work/ours" &&
        canonical "$work/defaults" helm >"$work/helms" &&
        diff -u --label kustomize --label helm "$work/ours" "$work/helms"
}

# The first document of what is sorted.
without_namespace() { sed '1,/^---$/d'; }
