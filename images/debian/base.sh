#!/usr/bin/env bash
# Makes a base image of Debian bookworm with its Python 3.11, where no container registry can be reached.
#
#   images/debian/base.sh amd64 | arm64 SECRETS     prints the root file system's archive
#
# SECRETS is a folder with what the Dockerfile's steps have in /run/secrets: apt, sources and certificates.
# None of it ends in the base. The archive is kept in ${XDG_CACHE_HOME:-~/.cache}/pocketkube/base; delete it
# there for a base with newer packages.
set -euo pipefail

suite=bookworm
packages=ca-certificates,python3
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "$*" >&2
    exit 2
}

usage="usage: $0 amd64 | arm64 SECRETS"
arch=${1:?$usage}
secrets=${2:?$usage}
[ "$(id -u)" = 0 ] || fail "BASE=debootstrap needs root; as another user, set BASE to an image."
command -v debootstrap > /dev/null ||
    fail "BASE=debootstrap needs debootstrap (Debian: apt-get install debootstrap)."

key=$suite-$arch-$(cat "$0" "$secrets/sources" | sha256sum | cut -c1-12)
archive=${XDG_CACHE_HOME:-$HOME/.cache}/pocketkube/base/$key.tar
if [ -e "$archive" ]; then
    echo "$archive"
    exit
fi

echo "stage=base making Debian $suite for $arch: a minute or more" >&2
work=$(mktemp -d)
emulated=
unfinished=
finish() {
    [ -z "$emulated" ] || "$here/../arm64/emulator.sh" unregister "base-$$"
    rm -rf --one-file-system "$work"
    rm -f "$unfinished"
}
trap finish EXIT
if [ "$arch" != "$(dpkg --print-architecture)" ]; then
    [ "$arch" = arm64 ] || fail "A base for $arch can be made on a machine of that kind only."
    emulated=yes
    "$here/../arm64/emulator.sh" register "base-$$"
fi

root=$work/root
# Manuals, translations and change logs are left out from the start, in later installations, too.
exclude=('/usr/share/man/*' '/usr/share/info/*' '/usr/share/locale/*' '/usr/share/doc/*')
if [ -s "$secrets/certificates" ]; then
    echo "ca_certificate = $secrets/certificates" > "$work/wgetrc"
    export WGETRC=$work/wgetrc
fi
debootstrap --arch="$arch" --variant=minbase --keyring="$keyring" --include="$packages" \
    "$suite" "$root" "$(awk 'NR == 1 { print $3 }' "$secrets/sources")" > "$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    fail "debootstrap failed; its last words are above."
}
# The mirror may be nobody else's to know, or to reach.
echo "# The mirror of the machine that made this is not told: name your own." > "$root/etc/apt/sources.list"
{
    printf 'path-exclude=%s\n' "${exclude[@]}"
    echo 'path-include=/usr/share/doc/*/copyright'
} > "$root/etc/dpkg/dpkg.cfg.d/container"
echo 'APT::Install-Recommends "false";' > "$root/etc/apt/apt.conf.d/90container"
in_root() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
        APT_CONFIG=/run/secrets/apt "$@" > "$work/log" 2>&1 ||
        { tail -n 20 "$work/log" >&2; fail "$* failed in the new base."; }
}
mkdir "$root/run/secrets"
cp "$secrets"/{apt,sources,certificates} "$root/run/secrets"
in_root apt-get -qq update
in_root apt-get -qq --yes dist-upgrade
in_root apt-get clean
rm -rf "$root/run/secrets" "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/ldconfig/* \
    "$root"/var/log/* "$root"/tmp/* "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/usr/share/locale/*
find "$root/usr/share/doc" -type f ! -name copyright -delete
rm -f "$root/etc/resolv.conf" "$root/etc/hostname" "$root/etc/machine-id"
# Nothing in our images needs more rights than its user has.
find "$root" -xdev -type f -perm /6000 -exec chmod a-s {} +

mkdir -p "$(dirname "$archive")"
# Under a name of its own until it is whole: another checkout may be making the same.
unfinished=$(mktemp "$archive.XXXXXX")
tar --numeric-owner --one-file-system --sort=name -C "$root" -cf "$unfinished" .
mv "$unfinished" "$archive"
echo "$archive"
