#!/usr/bin/env bash
# What the scripts of images share: which builder's store the images lie in, and how it is asked. To be sourced.

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' pocketkube/__init__.py)
case $(uname -m) in
    x86_64) machine=amd64 ;;
    aarch64) machine=arm64 ;;
    *) machine=$(uname -m) ;;
esac

choose_builder() {
    if command -v docker > /dev/null && docker info > /dev/null 2>&1; then
        docker buildx version > /dev/null 2>&1 ||
            fail "The images need docker's buildx (Debian: apt-get install docker-buildx)."
        echo docker
    elif ! command -v buildah > /dev/null; then
        fail "Neither a docker daemon answers nor is there buildah (Debian: apt-get install buildah)."
    elif [ "$(id -u)" != 0 ]; then
        fail "No docker daemon answers, and buildah needs root here: run make images as root."
    else
        echo buildah
    fi
}

# Those of this version that the builder's store has, one a line.
our_images() {
    local name
    for name in "pocketkube:$version" "pocketkube-suggestion:$version" \
        "pocketkube-benchmark:$version-amd64" "pocketkube-benchmark:$version-arm64"; do
        ! is_there "$name" || echo "$name"
    done
}

is_there() {
    if [ "$builder" = docker ]; then
        docker image inspect "$1" > /dev/null 2>&1
    else
        buildah inspect --type image "$1" > /dev/null 2>&1
    fi
}

say() {
    echo "stage=images $*" >&2
}

fail() {
    echo "$*" >&2
    exit 2
}
