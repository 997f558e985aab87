# shellcheck shell=bash
# What each tool does with the skills, for producers.sh to source. A function sets `version`, makes
# something in each way that differs, and tells where it is. `made` and `shows` add the rows.
# shellcheck disable=SC2154,SC2034 # variables of producers.sh, and for it

# Alibaba's documentation builds an artifact like this.
alibaba() {
    printf '{}\n' >config.json
    tar -czf code-review.tar.gz -C "$single/code-review" .
    oras push "$1" --config config.json:application/vnd.oci.empty.v1+json \
        --artifact-type application/vnd.agent.skill.v1+json \
        code-review.tar.gz:application/vnd.agent.skill.content.v1.tar+gzip
}

produce_oras() {
    version=$(oras version | sed -n 's/^Version: *//p')
    local ref=$registry/oras how names=()
    how="push code-review/"
    made "$how" at "$single" oras push "$ref:dir" code-review/ && shows "$how" "$ref:dir" "$single"
    how="push ."
    made "$how" at "$single/code-review" oras push "$ref:dot" . && shows "$how" "$ref:dot" "$single"
    how="push DIR…"
    mapfile -t names < <(ls "$several")
    made "$how" at "$several" oras push "$ref:dirs" "${names[@]}" &&
        shows "$how" "$ref:dirs" "$several"
    how="push FILE…"
    mapfile -t names < <(at "$single/code-review" find . -type f -printf '%P\n')
    made "$how" at "$single/code-review" oras push "$ref:files" "${names[@]}" &&
        shows "$how" "$ref:files" "$single"
    how="push odd-names/"
    made "$how" at "$odd" oras push "$ref:odd" odd-names/ && shows "$how" "$ref:odd" "$odd"
    how="Alibaba's recipe"
    made "$how" at "$work" alibaba "$ref:acr" && shows "$how" "$ref:acr" "$single"
    how="copy --to-oci-layout"
    made "$how" oras copy "$ref:odd" --to-oci-layout "$work/oras:odd" &&
        shows "$how" "oci:$work/oras:odd" "$odd"
}

produce_oras_py() {
    local python=$tools/python/bin/python ref=$registry/oras-py how names=()
    version=$("$python" -c 'import oras.version; print(oras.version.__version__)')
    local push='import sys, oras.client
oras.client.OrasClient().push(target=sys.argv[1], files=sys.argv[2:])'
    how="push(files=[DIR])"
    made "$how" at "$single" "$python" -c "$push" "$ref:dir" code-review &&
        shows "$how" "$ref:dir" "$single"
    made "$how" at "$odd" "$python" -c "$push" "$ref:odd" odd-names &&
        shows "$how, odd names" "$ref:odd" "$odd"
    how="push(files=[FILE, …]); it drops their directories"
    mapfile -t names < <(at "$single/code-review" find . -type f -printf '%P\n')
    made "$how" at "$single/code-review" "$python" -c "$push" "$ref:files" "${names[@]}" &&
        shows "$how" "$ref:files" "$flat"
}

produce_crane() {
    version=$(crane version)
    local ref=$registry/crane format skill how layers=()
    for format in gnu pax; do
        how="append, $format tar"
        tar --format=$format -cf "$work/$format.tar" -C "$odd" odd-names
        made "$how" crane append -f "$work/$format.tar" -t "$ref:$format" &&
            shows "$how" "$ref:$format" "$odd"
    done
    for skill in "$several"/*; do
        tar -czf "$work/${skill##*/}.tar.gz" -C "$several" "${skill##*/}"
        layers+=(-f "$work/${skill##*/}.tar.gz")
    done
    how="append, a layer each"
    made "$how" crane append "${layers[@]}" -t "$ref:layers" &&
        shows "$how" "$ref:layers" "$several"
    how="flatten"
    made "$how" crane flatten "$ref:layers" -t "$ref:flat" && shows "$how" "$ref:flat" "$several"
    how="pull --format=oci"
    made "$how" crane pull --format=oci "$ref:layers" "$work/crane" &&
        shows "$how" "oci:$work/crane" "$several"
}

# Its own store, and no mounts.
b() { buildah --root "$work/buildah" --runroot "$work/buildah-run" --storage-driver vfs "$@"; }
image() { # NAME CONTEXT FORMAT LINE…
    printf '%s\n' 'FROM scratch' "${@:4}" >"$work/Dockerfile"
    b bud --isolation chroot --layers --format "$3" -t "$1" -f "$work/Dockerfile" "$2"
}

produce_buildah() {
    version=$(buildah version | sed -n 's/^Version: *//p')
    local ref=$registry/buildah format how lines=()
    for format in oci docker; do
        how="COPY . /, $format"
        made "$how" image "$format" "$single/code-review" $format 'COPY . /' &&
            made "$how" b push "$format" "docker://$ref:$format" &&
            shows "$how" "$ref:$format" "$single"
    done
    how="COPY for each"
    mapfile -t lines < <(at "$several" find . -mindepth 1 -maxdepth 1 -printf 'COPY %f /%f\n')
    made "$how" image several "$several" oci "${lines[@]}" &&
        made "$how" b push several "docker://$ref:several" &&
        shows "$how" "$ref:several" "$several"
    how="COPY . /, odd names"
    made "$how" image odd "$odd" oci 'COPY . /' || return 0
    made "$how" b push odd "docker://$ref:odd" && shows "$how" "$ref:odd" "$odd"
    how="push --compression-format zstd"
    made "$how" b push --compression-format zstd odd "docker://$ref:zstd" &&
        shows "$how" "$ref:zstd" "$odd"
    how="push oci:"
    made "$how" b push odd "oci:$work/layout:odd" && shows "$how" "oci:$work/layout:odd" "$odd"
    how="push oci-archive:"
    made "$how" b push odd "oci-archive:$work/odd.tar:odd" &&
        shows "$how" "oci-archive:$work/odd.tar" "$odd"
}

umoci_layers() {
    umoci init --layout "$1"
    umoci new --image "$1:1"
    umoci insert --rootless --image "$1:1" "$several/code-review" /code-review
    # A second layer puts something else in, and a third hides it again.
    umoci insert --rootless --image "$1:1" "$odd/odd-names" /gone
    umoci insert --rootless --image "$1:1" --whiteout /gone
    umoci insert --rootless --image "$1:1" --opaque "$several/log-triage" /log-triage
    umoci insert --rootless --image "$1:1" "$several/release-notes" /release-notes
}

produce_umoci() {
    version=$(umoci --version | sed 's/.* //')
    local how="insert, whiteouts; its layout"
    made "$how" umoci_layers "$work/umoci" && shows "$how" "oci:$work/umoci:1" "$several"
}

produce_skopeo() {
    version=$(skopeo --version | sed 's/.* //')
    local ref=$registry/skopeo how="copy of umoci's" from=oci:$work/umoci:1
    [ -e "$work/umoci" ] || { row "copies" - "not run: wants umoci"; return 0; }
    made "$how" skopeo copy "$from" "docker://$ref:1" && shows "$how" "$ref:1" "$several"
    how="copy --format v2s2"
    made "$how" skopeo copy --format v2s2 "$from" "docker://$ref:v2s2" &&
        shows "$how" "$ref:v2s2" "$several"
    how="copy --dest-compress-format zstd"
    made "$how" skopeo copy --dest-compress-format zstd --dest-compress "$from" "docker://$ref:zstd" &&
        shows "$how" "$ref:zstd" "$several"
    how="copy to oci-archive:"
    made "$how" skopeo copy "$from" "oci-archive:$work/skopeo.tar:1" &&
        shows "$how" "oci-archive:$work/skopeo.tar:1" "$several"
}

skillctl_push() { # PROFILE REF
    skillctl build --media-type "$1" "$work/skillctl/code-review"
    skillctl tag conformance/code-review:1.0.0-draft "$2"
    skillctl push "$2"
}

produce_skillctl() {
    version=$(skillctl --version | sed 's/.* //')
    local profile how ref
    mkdir -p "$work/skillctl"
    cp -a "$single/code-review" "$work/skillctl/"
    printf '%s\n' 'apiVersion: skillimage.io/v1alpha1' 'kind: SkillCard' 'metadata:' \
        '  name: code-review' '  namespace: conformance' '  version: 1.0.0' \
        '  description: Reviews code.' 'spec:' '  prompt: SKILL.md' \
        >"$work/skillctl/code-review/skill.yaml"
    for profile in standard redhat; do
        how="build --media-type $profile, push"
        ref=$registry/skillctl/code-review:1.0.0-$profile
        made "$how" skillctl_push $profile "$ref" && shows "$how" "$ref" "$work/skillctl"
    done
}

produce_skills_oci() {
    version=$(skills-oci --version | sed 's/.* //')
    local ref=$registry/skills-oci how skill members=()
    how="push"
    made "$how" skills-oci --plain push "$ref/code-review:1" "$single/code-review" &&
        shows "$how" "$ref/code-review:1" "$single"
    how="push, odd names"
    made "$how" skills-oci --plain push "$ref/odd-names:1" "$odd/odd-names" &&
        shows "$how" "$ref/odd-names:1" "$odd"
    # In one repository: this registry takes no index of what it does not have there.
    how="collection push"
    for skill in "$several"/*; do
        made "$how" skills-oci --plain push "$ref/all:${skill##*/}" "$skill" || return 0
        members+=(--skill "$ref/all:${skill##*/}")
    done
    made "$how" skills-oci --plain collection push "$ref/all:1" --name several "${members[@]}" &&
        shows "$how" "$ref/all:1" "$several"
}

produce_flux() {
    version=$(flux --version | sed 's/.* //')
    local ref=$registry/flux:1 how="push artifact"
    made "$how" flux push artifact "oci://$ref" --path="$several" --source=here --revision=1 &&
        shows "$how" "$ref" "$several"
}
