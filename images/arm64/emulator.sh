#!/usr/bin/env bash
# Lets an x86 machine run aarch64 programs: Debian trixie's qemu, a static binary, and the kernel's binfmt_misc.
#
#   images/arm64/emulator.sh fetch               fetches what register needs, once for a machine
#   images/arm64/emulator.sh register HOLDER     aarch64 programs run, in containers and chroots, too
#   images/arm64/emulator.sh unregister HOLDER   undoes it once no other holder is left
#
# QEMU_CPU (cortex-a53, cortex-a76, neoverse-n1, max, …) in a program's environment picks the core. Bookworm's
# qemu, 7.2, shows programs the host's /proc/cpuinfo, on which LiteRT fails; trixie's, 10, shows an ARM one.
# A qemu that others have registered is taken if it does; else ours stands before it meanwhile.
set -euo pipefail
shopt -s inherit_errexit

suite=trixie
package=qemu-user
oldest=10
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pocketkube/arm64/$package-$suite
emulator=$cache/qemu-aarch64
binfmt=/proc/sys/fs/binfmt_misc
entry=pocketkube-aarch64
holders=/run/pocketkube/aarch64

main() {
    case "${1:-}" in
        fetch) fetch ;;
        register) register "${2:?usage: $0 register HOLDER}" ;;
        unregister) unregister "${2:?usage: $0 unregister HOLDER}" ;;
        *) fail "usage: $0 fetch | register HOLDER | unregister HOLDER" ;;
    esac
}

fetch() {
    if [ "$(uname -m)" != aarch64 ] && [ -z "$(handler_of_others)" ] && [ ! -x "$emulator" ]; then
        # In a shell of its own, so that its folder is gone when it ends, however that is.
        (fetch_package)
    fi
}

fetch_package() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # apt fetches as a user of its own.
    chmod 755 "$work"
    mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/download"
    ! id _apt > /dev/null 2>&1 || [ "$(id -u)" != 0 ] || chown _apt "$work/download"
    touch "$work/status"
    "$here/../debian/sources.sh" "$suite" > "$work/sources.list" 2> "$work/why" ||
        fail "$(cat "$work/why") Or register a qemu $oldest or newer for aarch64 yourself, with flag F."
    echo "stage=emulator fetching $package of $suite" >&2
    private_apt=(apt-get -qq
        -o "Dir::State=$work/state" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache"
        -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
        -o APT::Update::Post-Invoke= -o APT::Update::Post-Invoke-Success= -o DPkg::Post-Invoke=)
    "${private_apt[@]}" update >&2 || fail "The Debian mirror has no $suite that apt can verify."
    (cd "$work/download" && "${private_apt[@]}" download "$package" >&2) ||
        fail "The Debian mirror's $suite did not give $package."
    dpkg-deb --extract "$work"/download/*.deb "$work/content"
    mkdir -p "$cache"
    # Under a name of its own until it is whole: others may be fetching the same.
    unfinished=$(mktemp "$emulator.XXXXXX")
    trap 'rm -rf "$work" "$unfinished"' EXIT
    install -m 755 "$work/content/usr/bin/qemu-aarch64" "$unfinished"
    mv "$unfinished" "$emulator"
}

register() {
    [ "$(uname -m)" != aarch64 ] || return 0
    [ "$(id -u)" = 0 ] || fail "Registering an emulator with the kernel needs root."
    lock
    mkdir -p "$holders"
    if [ ! -e "$binfmt/register" ]; then
        mount -t binfmt_misc binfmt_misc "$binfmt" || fail "The kernel has no binfmt_misc."
        touch "$holders.mounted"
    fi
    if [ ! -e "$binfmt/$entry" ]; then
        local others
        others=$(handler_of_others)
        if [ -n "$others" ]; then
            echo "stage=emulator aarch64 programs already run by $others" >&2
            return 0
        fi
        fetch
        # Flag F opens the emulator now, so that it need not be in the container; O and C hand it the
        # program's own file and rights.
        echo ":$entry:M::$(magic '\x'):$(mask):$emulator:OCF" > "$binfmt/register"
    fi
    touch "$holders/$1"
}

unregister() {
    [ -d "$holders" ] || return 0
    [ "$(id -u)" = 0 ] || fail "Taking an emulator from the kernel needs root."
    lock
    rm -f "$holders/$1"
    [ -z "$(ls "$holders")" ] || return 0
    [ ! -e "$binfmt/$entry" ] || echo -1 > "$binfmt/$entry"
    if [ -e "$holders.mounted" ]; then
        umount "$binfmt"
        rm "$holders.mounted"
    fi
    rmdir --ignore-fail-on-non-empty "$holders" "$(dirname "$holders")"
}

# On a folder that is there anyway: a file for it would have to be left behind.
lock() {
    exec 9< "$(dirname "$(dirname "$holders")")"
    flock 9
}

# The qemu of others by which aarch64 programs run; nothing where one of theirs would not do.
handler_of_others() {
    local file found=
    for file in "$binfmt"/*; do
        if [ "$file" != "$binfmt/$entry" ] && runs_aarch64 "$file"; then
            found=$(interpreter "$file")
            # Which of several the kernel takes, their files do not tell.
            does "$file" || return 0
        fi
    done
    echo "$found"
}

runs_aarch64() {
    grep -qsx enabled "$1" && grep -qsi "^magic $(magic '')$" "$1"
}

# Whether an entry's qemu is there in containers, too, and shows ARM's /proc/cpuinfo.
does() {
    local version
    version=$("$(interpreter "$1")" --version 2> /dev/null | sed -n 's/.* version \([0-9]*\).*/\1/p') || true
    grep -q '^flags:.*F' "$1" && [ "${version:-0}" -ge "$oldest" ]
}

interpreter() {
    sed -n 's/^interpreter //p' "$1"
}

# An ELF header of a 64-bit little-endian program for machine 0xb7, AArch64; $1 stands before each byte.
magic() {
    local byte
    for byte in 7f 45 4c 46 02 01 01 00 00 00 00 00 00 00 00 00 02 00 b7 00; do
        printf '%s%s' "$1" "$byte"
    done
}

# The OS ABI may be any, and the type 2 or 3: a program at a fixed address or not.
mask() {
    printf '%s' '\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
}

fail() {
    echo "$*" >&2
    exit 2
}

main "$@"
