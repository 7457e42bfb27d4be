#!/usr/bin/env bash
# Builds PocketKube's images with docker, or with buildah where no docker daemon answers.
#
#   images/build.sh [runtime] [benchmark] [suggestion]        all, if none is named
#
# Taken from the environment:
#   BASE             a Debian bookworm image whose python3 is 3.11 (default: the Dockerfile's); debootstrap
#                    makes one from the machine's own Debian mirror, where no container registry can be reached
#   CA_CERTIFICATES  a file or folder of certificate authorities to trust while building (default:
#                    SSL_CERT_FILE, if that is set); none ends in an image
#   ARCHES           architectures of the benchmark image: amd64, arm64 or both (default: this machine's)
#   REGISTRY         where to push the images to, as registry.example/team; its credentials are the builder's
#   SBOM             if set, what the images hold is written to build/sbom
#
# A package index is taken from PIP_INDEX_URL, UV_DEFAULT_INDEX and the like, or from pip's configuration.
# The images lie in the builder's own store: pocketkube:VERSION, pocketkube-suggestion:VERSION and
# pocketkube-benchmark:VERSION-ARCH; the index pocketkube-benchmark:VERSION names the latter, so that each node
# finds its own. Docker's store holds no index:
# with docker it is made in REGISTRY alone. How large the images are, and why, is printed in the end.
set -euo pipefail

cd "$(dirname "$0")/.."
# shellcheck source=images/builder.sh
source images/builder.sh

main() {
    local targets=("$@") target arch
    [ $# -gt 0 ] || targets=(runtime benchmark suggestion)
    for target in "${targets[@]}"; do
        case $target in
            runtime | benchmark | suggestion) ;;
            *) fail "There is no image called $target; there are runtime, benchmark and suggestion." ;;
        esac
    done
    for arch in ${ARCHES:=$machine}; do
        case $arch in
            amd64 | arm64) ;;
            *) fail "ARCHES: $arch is neither amd64 nor arm64." ;;
        esac
    done

    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    certificates > "$work/certificates"
    index > "$work/index"
    sources > "$work/sources"
    apt_settings > "$work/apt"
    builder=$(choose_builder)
    build_base=$(base "$machine")

    for target in "${targets[@]}"; do
        if [ "$target" = runtime ]; then
            build_runtime
        elif [ "$target" = suggestion ]; then
            say "building pocketkube-suggestion:$version"
            build "$machine" --target suggestion --tag "pocketkube-suggestion:$version"
        else
            for arch in $ARCHES; do
                say "building pocketkube-benchmark:$version-$arch"
                build "$arch" --target benchmark --tag "pocketkube-benchmark:$version-$arch"
            done
            [ "$builder" = docker ] || make_index
        fi
    done
    for target in "${targets[@]}"; do
        [ -z "${REGISTRY:-}" ] || push "$target"
        readarray -t built < <(names "$target")
        images/sizes.sh "${built[@]}"
        [ -z "${SBOM:-}" ] || images/sbom.sh "${built[@]}"
    done
}

# The images that a target was built as.
names() {
    local arch
    if [ "$1" = runtime ]; then
        echo "pocketkube:$version"
    elif [ "$1" = suggestion ]; then
        echo "pocketkube-suggestion:$version"
    else
        for arch in $ARCHES; do
            echo "pocketkube-benchmark:$version-$arch"
        done
    fi
}

# One name for the benchmark of every architecture.
make_index() {
    local index=pocketkube-benchmark:$version name
    say "making the index $index"
    buildah manifest rm "$index" > /dev/null 2>&1 || true
    buildah manifest create "$index" > /dev/null
    for name in $(names benchmark); do
        buildah manifest add "$index" "containers-storage:localhost/$name" > /dev/null
    done
}

push() {
    local name remote=()
    for name in $(names "$1"); do
        say "pushing $REGISTRY/$name"
        if [ "$builder" = docker ]; then
            docker tag "$name" "$REGISTRY/$name"
            docker push --quiet "$REGISTRY/$name" > /dev/null
        else
            buildah push --quiet "$name" "docker://$REGISTRY/$name" > /dev/null
        fi || fail "$REGISTRY/$name could not be pushed; the lines above say why."
        remote+=("$REGISTRY/$name")
    done
    [ "$1" = benchmark ] || return 0
    name=pocketkube-benchmark:$version
    say "pushing the index $REGISTRY/$name"
    if [ "$builder" = docker ]; then
        docker buildx imagetools create --tag "$REGISTRY/$name" "${remote[@]}" > /dev/null
    else
        buildah manifest push --all --quiet "$name" "docker://$REGISTRY/$name" > /dev/null
    fi || fail "$REGISTRY/$name could not be pushed; the lines above say why."
}

# Horovod takes minutes to build; its wheel is kept where `make horovod` keeps it.
build_runtime() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/pocketkube/horovod built kept
    mkdir -p "$cache" "$work/wheels"
    say "building pocketkube:$version"
    build "$machine" --build-context "wheels=$cache" --target horovod-wheel \
        --output "type=local,dest=$work/wheels"
    for built in "$work"/wheels/*/*.whl; do
        kept=$cache${built#"$work/wheels"}
        [ -e "$kept" ] || keep "$built" "$kept"
    done
    build "$machine" --build-context "wheels=$cache" --target runtime --tag "pocketkube:$version"
}

# Whoever looks, another checkout's build included, finds a file whole or not at all.
keep() {
    local unfinished
    unfinished=$(mktemp "${XDG_CACHE_HOME:-$HOME/.cache}/pocketkube/horovod.XXXXXX")
    install -m 644 "$1" "$unfinished"
    mkdir -p "$(dirname "$2")"
    mv "$unfinished" "$2"
}

# build ARCH OPTION…
build() {
    local arch=$1 image_base
    shift
    image_base=$(base "$arch")
    local hint=" Where no registry can be reached, BASE=debootstrap makes the base image."
    local options=(--platform "linux/$arch" --build-arg "VERSION=$version" --network host) secret
    for secret in certificates index sources apt; do
        options+=(--secret "id=$secret,src=$work/$secret")
    done
    [ "${BASE:-}" != debootstrap ] || hint=
    [ -z "$image_base" ] ||
        options+=(--build-arg "BASE=$image_base" --build-arg "BUILD_BASE=$build_base")
    if [ "$builder" = docker ]; then
        # What is exported to a folder is not to be loaded into the store as well.
        [[ " $* " == *" --output "* ]] || options+=(--load)
        docker buildx build "${options[@]}" "$@" .
    else
        # Docker knows its own platform; buildah 1.28 has to be told.
        options+=(--build-arg "BUILDPLATFORM=linux/$machine")
        [ "${BASE:-}" != debootstrap ] || options+=(--pull-never)
        buildah build --layers --isolation chroot "${options[@]}" "$@" .
    fi || fail "The build failed; the lines above say where.$hint"
}

# The base image for an architecture; nothing where the Dockerfile's own is wanted.
base() {
    # In a $(…) bash goes on after a failure unless told again.
    set -e
    local arch=$1 archive name
    if [ "${BASE:-}" != debootstrap ]; then
        echo "${BASE:-}"
        return
    fi
    archive=$(images/debian/base.sh "$arch" "$work")
    name=localhost/pocketkube-base:$(basename "$archive" .tar)
    if [ "$builder" = docker ]; then
        docker image inspect "$name" > /dev/null 2>&1 ||
            docker import --platform "linux/$arch" "$archive" "$name" > /dev/null
    elif ! buildah inspect --type image "$name" > /dev/null 2>&1; then
        container=$(buildah from --arch "$arch" scratch)
        trap 'buildah rm "$container" > /dev/null' EXIT
        buildah add --quiet "$container" "$archive" / > /dev/null
        buildah config --arch "$arch" --os linux "$container"
        buildah commit --quiet "$container" "$name" > /dev/null
    fi
    echo "$name"
}

# One bundle of what CA_CERTIFICATES names.
certificates() {
    local given=${CA_CERTIFICATES:-${SSL_CERT_FILE:-}}
    if [ -z "$given" ]; then
        return
    elif [ -d "$given" ]; then
        if [ -e "$given/ca-certificates.crt" ]; then
            cat "$given/ca-certificates.crt"
        else
            find -L "$given" -type f \( -name '*.crt' -o -name '*.pem' \) -exec cat {} + | grep . ||
                fail "CA_CERTIFICATES: $given holds no .crt and no .pem file."
        fi
    elif [ -r "$given" ]; then
        cat "$given"
    else
        fail "CA_CERTIFICATES: there is no $given."
    fi
}

# The package index of this machine, as a shell file that sets it.
index() {
    local name url
    for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST \
        UV_DEFAULT_INDEX UV_INDEX UV_INDEX_URL UV_EXTRA_INDEX_URL UV_INSECURE_HOST; do
        [ -z "${!name:-}" ] || printf '%s=%q\n' "$name" "${!name}"
    done
    url=${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2> /dev/null || true)}
    if [ -n "$url" ]; then
        [ -n "${PIP_INDEX_URL:-}" ] || printf 'PIP_INDEX_URL=%q\n' "$url"
        [ -n "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] || printf 'UV_DEFAULT_INDEX=%q\n' "$url"
    fi
}

# Where a base that was made here has its packages from; other bases know that themselves.
sources() {
    [ "${BASE:-}" != debootstrap ] || images/debian/sources.sh bookworm
}

# What apt is told in every step, as its configuration file.
apt_settings() {
    # Its own user may not read a step's secrets.
    echo 'APT::Sandbox::User "root";'
    [ ! -s "$work/certificates" ] || echo 'Acquire::https::CaInfo "/run/secrets/certificates";'
    [ ! -s "$work/sources" ] || echo 'Dir::Etc::SourceList "/run/secrets/sources";'
}

main "$@"
