#!/usr/bin/env bash
# Prints apt's sources of a Debian suite on the mirror that this machine's own apt uses.
#
#   images/debian/sources.sh bookworm
set -euo pipefail

suite=${1:?usage: $0 SUITE}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
    echo "$*" >&2
    exit 2
}

command -v apt-get > /dev/null || fail "Debian's packages are fetched with apt-get, which is not here."
# shellcheck disable=SC2016
targets=$(apt-get indextargets --format '$(CODENAME) $(LABEL) $(REPO_URI)' | sort -u)
mirror=$(awk '$2 == "Debian" && $1 !~ /-/ { print $NF; exit }' <<< "$targets")
security=$(awk '$2 == "Debian-Security" { print $NF; exit }' <<< "$targets")
[ -n "$mirror" ] || fail "apt knows no Debian mirror; run apt-get update, or add one to its sources."

echo "deb [signed-by=$keyring] $mirror $suite main"
echo "deb [signed-by=$keyring] $mirror $suite-updates main"
[ -z "$security" ] || echo "deb [signed-by=$keyring] $security $suite-security main"
