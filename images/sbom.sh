#!/usr/bin/env bash
# Writes what the images hold, Debian's packages and Python's with their licences, to build/sbom (CycloneDX).
#
#   images/sbom.sh [IMAGE…]       those of this version in the builder's store, if none is named
#
# By syft: the one on this machine, or one that go builds once and keeps (some minutes).
set -euo pipefail

cd "$(dirname "$0")/.."
# shellcheck source=images/builder.sh
source images/builder.sh
syft_version=v1.18.1
folder=build/sbom

main() {
    builder=$(choose_builder)
    [ $# -gt 0 ] || readarray -t images < <(our_images)
    [ $# -eq 0 ] || images=("$@")
    [ ${#images[@]} -gt 0 ] || fail "There is no image of $version: make images builds them."
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    syft=$(find_syft)
    mkdir -p "$folder"
    local image
    for image in "${images[@]}"; do
        is_there "$image" || fail "$builder has no image $image: make images builds ours."
        write "$image" "$folder/${image/:/-}.cdx.json"
    done
}

find_syft() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/pocketkube/syft/$syft_version
    if command -v syft; then
        return
    elif [ ! -x "$cache/syft" ]; then
        command -v go > /dev/null ||
            fail "An SBOM needs syft, or Go 1.23.2 or later to build it (github.com/anchore/syft)."
        say "building syft $syft_version"
        GOBIN=$work/bin CGO_ENABLED=0 go install -trimpath -ldflags '-s -w' \
            "github.com/anchore/syft/cmd/syft@$syft_version" >&2 || fail "syft could not be built."
        mkdir -p "$cache"
        # Whoever looks finds it whole or not at all.
        mv "$work/bin/syft" "$cache/syft"
    fi
    echo "$cache/syft"
}

write() {
    local archive=$work/image.tar kind
    say "writing $2"
    if [ "$builder" = docker ]; then
        kind=docker-archive
        docker save --output "$archive" "$1"
    else
        kind=oci-archive
        buildah push --quiet "$1" "oci-archive:$archive" > /dev/null
    fi
    SYFT_CHECK_FOR_APP_UPDATE=false "$syft" scan --quiet "$kind:$archive" \
        --source-name "${1%%:*}" --source-version "${1#*:}" --output "cyclonedx-json=$work/sbom.json"
    rm -f "$archive"
    mv "$work/sbom.json" "$2"
}

main "$@"
