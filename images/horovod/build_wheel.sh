#!/usr/bin/env bash
# Builds Horovod for TensorFlow from its source distribution and installs it into an environment.
#
#   images/horovod/build_wheel.sh .venv/bin/python
#
# The wheel is kept in ${XDG_CACHE_HOME:-~/.cache}/pocketkube/horovod, one for each combination of
# versions, so that a machine builds it once.
set -euo pipefail

version=0.28.1
python=$(realpath -s "${1:?usage: $0 PYTHON}")

missing=()
command -v mpirun > /dev/null || missing+=(openmpi-bin)
command -v mpicxx > /dev/null || missing+=(libopenmpi-dev)
command -v cmake > /dev/null || missing+=(cmake)
command -v g++ > /dev/null || missing+=(g++)
command -v make > /dev/null || missing+=(make)
if [ ${#missing[@]} -gt 0 ]; then
    echo "Horovod cannot be built: install ${missing[*]} (Debian: apt-get install ${missing[*]})." >&2
    exit 2
fi

key=$("$python" - <<'PY'
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

for name in ("tensorflow-cpu", "tensorflow"):
    try:
        found = version(name)
    except PackageNotFoundError:
        continue
    # A wheel built against one C library does not run with an older one, as in an image.
    libc = os.confstr("CS_GNU_LIBC_VERSION").replace(" ", "")
    print(f"tf{found}-py{sys.version_info.major}{sys.version_info.minor}-{platform.machine()}-{libc}")
    break
PY
)
key=$version-$key-$(sha256sum "$0" | cut -c1-8)
wheels=${XDG_CACHE_HOME:-$HOME/.cache}/pocketkube/horovod
cache=$wheels/$key

if ! ls "$cache"/*.whl > /dev/null 2>&1; then
    echo "stage=horovod building $version for $key: some minutes" >&2
    work=$(mktemp -d)
    unfinished=
    trap 'rm -rf "$work" "$unfinished"' EXIT
    # The build runs in an environment of its own that sees the TensorFlow it is built for.
    uv venv --quiet --python "$python" "$work/build"
    "$python" -c 'import site; print(site.getsitepackages()[0])' \
        > "$("$work/build/bin/python" -c 'import site; print(site.getsitepackages()[0])')/tensorflow.pth"
    uv pip install --quiet --python "$work/build/bin/python" \
        'setuptools<80' wheel packaging cloudpickle psutil pyyaml pip
    "$work/build/bin/python" -m pip download --quiet --no-deps --no-binary :all: \
        --no-build-isolation --dest "$work" "horovod==$version"
    tar -xzf "$work/horovod-$version.tar.gz" -C "$work"
    source=$work/horovod-$version
    # XLA collectives are off by default, and the TensorFlow headers they need have moved.
    sed -i '/xla_mpi_ops\.cc/d' "$source/horovod/tensorflow/CMakeLists.txt"
    # Where connecting has failed once, because a process was lost meanwhile, it may be tried again.
    sed -i 's|// Reset initialization flag|horovod_global.initialization_failed = false;|' \
        "$source/horovod/common/operations.cc"
    export HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITH_MPI=1 HOROVOD_WITH_GLOO=1
    export HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1
    # Its CMake files are older than what CMake 4 accepts.
    export CMAKE_POLICY_VERSION_MINIMUM=3.5 MAKEFLAGS=-j$(nproc)
    if ! "$work/build/bin/python" -m pip wheel --no-deps --no-build-isolation \
        --wheel-dir "$work/wheel" "$source" > "$work/log" 2>&1; then
        tail -n 40 "$work/log" >&2
        echo "Horovod could not be built; the compiler's last words are above." >&2
        exit 1
    fi
    mkdir -p "$cache"
    # Beside the wheels until it is whole: another checkout may be building or reading the same.
    unfinished=$(mktemp "$wheels.XXXXXX")
    install -m 644 "$work"/wheel/*.whl "$unfinished"
    mv "$unfinished" "$cache/$(basename "$work"/wheel/*.whl)"
fi

uv pip install --quiet --python "$python" --no-deps "$cache"/*.whl
# What Horovod imports beside TensorFlow is in requirements/dev.lock.
"$python" -c 'import horovod.tensorflow as hvd; print("horovod", hvd.__name__, "is ready")'
