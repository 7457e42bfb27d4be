#!/usr/bin/env bash
# Prints how large the images are, and what in them is larger than 10 MB.
#
#   images/sizes.sh [IMAGE…]      those of this version in the builder's store, if none is named
set -euo pipefail

cd "$(dirname "$0")/.."
# shellcheck source=images/builder.sh
source images/builder.sh

main() {
    builder=$(choose_builder)
    [ $# -gt 0 ] || readarray -t images < <(our_images)
    [ $# -eq 0 ] || images=("$@")
    [ ${#images[@]} -gt 0 ] || fail "There is no image of $version: make images builds them."
    local image
    for image in "${images[@]}"; do
        is_there "$image" || fail "$builder has no image $image: make images builds ours."
        files "$image" | parts | sort --numeric-sort --reverse | shown "$image"
    done
}

# The size and the path of each file.
files() {
    local container root
    if [ "$builder" = docker ]; then
        container=$(docker create "$1")
        docker export "$container" | tar --list --verbose |
            awk '/^-/ { size = $3; sub(/^[^ ]+ +[^ ]+ +[^ ]+ +[^ ]+ +[^ ]+ +/, ""); print size, $0 }'
        docker rm "$container" > /dev/null
    else
        container=$(buildah from --pull-never --arch "$(architecture "$1")" "$1")
        root=$(buildah mount "$container")
        find "$root" -xdev -type f -printf '%s %P\n'
        buildah rm "$container" > /dev/null
    fi
}

architecture() {
    buildah inspect --type image --format '{{.OCIv1.Architecture}}' "$1"
}

# Python's packages each, what else lies in the image's own Python, and the rest by what it is.
parts() {
    awk '{
        size = $1
        path = substr($0, length($1) + 2)
        count = split(path, at, "/")
        if (path ~ /^opt\/pocketkube\/lib\/[^\/]+\/site-packages\//)
            part = at[6]
        else if (path ~ /^usr\/(local\/)?lib\/python3/)
            part = "Python"
        else
            part = "Debian: /" at[1] (count > 2 ? "/" at[2] : "") (at[2] == "lib" && count > 3 ? "/" at[3] : "")
        sizes[part] += size
        all += size
    }
    END {
        printf "%d all\n", all
        for (part in sizes) printf "%d %s\n", sizes[part], part
    }'
}

shown() {
    awk -v image="$1" '
        $2 == "all" { printf "%s: %.0f MB\n", image, $1 / 1e6; next }
        $1 > 1e7 { size = $1; $1 = ""; printf "  %6.0f MB %s\n", size / 1e6, $0; next }
        { rest += $1 }
        END { printf "  %6.0f MB  each smaller than 10 MB\n", rest / 1e6 }'
}

main "$@"
