#!/bin/sh
# Runs a command of the image build with the builder's own certificates and package index, which are mounted
# for that one step.
set -eu
certificates=/run/secrets/certificates
index=/run/secrets/index
if [ -s "$certificates" ]; then
    export SSL_CERT_FILE="$certificates" PIP_CERT="$certificates"
fi
if [ -s "$index" ]; then
    set -a
    . "$index"
    set +a
fi
exec "$@"
