# The images that PocketKube's stages run in; `make images` builds them, with docker or with buildah.
#
#   runtime      TensorFlow, Keras, Horovod, Open MPI, ssh: every stage and every MPIJob
#   benchmark    LiteRT alone: the benchmark, on amd64 and arm64
#   suggestion   NumPy, SciPy, Optuna, gRPC: Katib's suggestion service
#
# Secrets, all optional, reach single steps and no layer: `certificates` is a bundle of the builder's own
# certificate authorities, `index` a shell file with its package index (PIP_INDEX_URL=…), `sources` apt's list
# of its Debian mirror and `apt` a configuration that has apt use the two.

# Every base names its platform: buildah 1.28 keeps the one of the FROM before for those that do not.
# A Debian bookworm whose python3 is 3.11. BUILD_BASE is the same for the builder's own architecture.
ARG BASE=python:3.11-slim-bookworm
ARG BUILD_BASE=${BASE}

# Stands for a folder of Horovod wheels that were built before: --build-context wheels=FOLDER.
FROM scratch AS wheels

FROM --platform=${BUILDPLATFORM} ${BUILD_BASE} AS tools
ENV DEBIAN_FRONTEND=noninteractive \
    PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    APT_CONFIG=/run/secrets/apt UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never \
    # The sources in an image never change under their compiled form, but a copy may change their times.
    PYC_INVALIDATION_MODE=UNCHECKED_HASH
COPY images/with_index.sh /opt/build/with_index
RUN --mount=type=secret,id=certificates --mount=type=secret,id=index \
    --mount=type=secret,id=sources --mount=type=secret,id=apt \
    python3 -c 'import ensurepip' 2> /dev/null || \
    { apt-get -qq update && apt-get -qq install --yes --no-install-recommends python3-venv > /dev/null; } \
    && python3 -m venv /opt/build/tools \
    && /opt/build/with_index /opt/build/tools/bin/pip install --quiet uv 'setuptools>=77,<90' wheel \
    && useradd --uid 1000 --create-home --skel /dev/null --shell /bin/sh pocketkube \
    && python3 -m venv --without-pip /opt/pocketkube
ENV PATH=/opt/build/tools/bin:${PATH}

# PocketKube itself, as it is laid over either image's packages.
FROM tools AS application
WORKDIR /source
COPY pyproject.toml README.md ./
COPY pocketkube pocketkube
RUN uv build --quiet --wheel --no-build-isolation --python /opt/build/tools/bin/python --out-dir /wheel \
    && uv pip install --quiet --no-deps --offline --python /opt/pocketkube/bin/python --prefix /application \
        /wheel/*.whl \
    && chmod -R a+rX,go-w /application && rm -f /application/.lock

# The target's wheels are unpacked on the builder's own architecture: nothing of the target has to run.
FROM tools AS benchmark-packages
ARG TARGETARCH
COPY requirements/benchmark.lock /opt/pocketkube/
RUN --mount=type=secret,id=certificates --mount=type=secret,id=index \
    case "${TARGETARCH}" in amd64) machine=x86_64 ;; arm64) machine=aarch64 ;; esac \
    && /opt/build/with_index uv pip sync --quiet --require-hashes --only-binary :all: \
        --python /opt/pocketkube/bin/python --python-platform "${machine}-manylinux_2_36" \
        /opt/pocketkube/benchmark.lock \
    && rm -rf /opt/pocketkube/.lock /opt/pocketkube/lib/python3.11/site-packages/numpy/*/tests

FROM --platform=${TARGETPLATFORM} ${BASE} AS benchmark
COPY --from=benchmark-packages /etc/passwd /etc/group /etc/
COPY --from=benchmark-packages --chown=1000:1000 /home/pocketkube /home/pocketkube
COPY --from=benchmark-packages /opt/pocketkube /opt/pocketkube
ENV PATH=/opt/pocketkube/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/home/pocketkube TMPDIR=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /home/pocketkube
USER 1000:1000
CMD ["pocketkube", "--help"]
ARG VERSION
LABEL org.opencontainers.image.title="PocketKube benchmark" \
    org.opencontainers.image.description="Measures LiteRT files on the machine it runs on." \
    org.opencontainers.image.version="${VERSION}"
COPY --from=application /application /opt/pocketkube

FROM tools AS suggestion-packages
COPY requirements/suggestion.lock /opt/pocketkube/
RUN --mount=type=secret,id=certificates --mount=type=secret,id=index \
    /opt/build/with_index uv pip sync --quiet --require-hashes --only-binary :all: \
        --python /opt/pocketkube/bin/python /opt/pocketkube/suggestion.lock \
    && cd /opt/pocketkube/lib/python3.11/site-packages \
    && rm -rf /opt/pocketkube/.lock numpy/*/tests scipy/*/tests scipy/*/*/tests

FROM --platform=${TARGETPLATFORM} ${BASE} AS suggestion
COPY --from=suggestion-packages /etc/passwd /etc/group /etc/
COPY --from=suggestion-packages --chown=1000:1000 /home/pocketkube /home/pocketkube
COPY --from=suggestion-packages /opt/pocketkube /opt/pocketkube
# Nothing is written at all. More threads of BLAS would take memory, and networks this small no time.
ENV PATH=/opt/pocketkube/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/home/pocketkube PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
WORKDIR /home/pocketkube
USER 1000:1000
EXPOSE 6789
CMD ["python", "-m", "pocketkube.search.suggestion_service"]
ARG VERSION
LABEL org.opencontainers.image.title="PocketKube suggestion" \
    org.opencontainers.image.description="Katib's suggestion service of PocketKube's algorithms." \
    org.opencontainers.image.version="${VERSION}"
COPY --from=application /application /opt/pocketkube

FROM tools AS packages
COPY requirements/runtime.lock /opt/pocketkube/
RUN --mount=type=secret,id=certificates --mount=type=secret,id=index \
    /opt/build/with_index uv pip sync --quiet --require-hashes \
        --python /opt/pocketkube/bin/python /opt/pocketkube/runtime.lock

FROM packages AS horovod
RUN --mount=type=secret,id=certificates --mount=type=secret,id=sources --mount=type=secret,id=apt \
    apt-get -qq update \
    && apt-get -qq install --yes --no-install-recommends \
        binutils cmake g++ libopenmpi-dev make openmpi-bin > /dev/null
COPY images/horovod/build_wheel.sh /opt/build/
RUN --mount=type=secret,id=certificates --mount=type=secret,id=index \
    --mount=type=bind,from=wheels,target=/opt/wheels \
    mkdir -p /opt/cache/pocketkube/horovod \
    && cp -r /opt/wheels/. /opt/cache/pocketkube/horovod \
    && XDG_CACHE_HOME=/opt/cache /opt/build/with_index /opt/build/build_wheel.sh /opt/pocketkube/bin/python

# What was built is handed out, for the next time: --target horovod-wheel --output type=local,dest=FOLDER.
FROM scratch AS horovod-wheel
COPY --from=horovod /opt/cache/pocketkube/horovod /

# Without what only building against TensorFlow needs (headers, clang), symbol tables and others' tests.
FROM horovod AS trimmed
RUN cd /opt/pocketkube/lib/python3.11/site-packages \
    && rm -rf tensorflow/include clang sklearn/tests sklearn/*/tests scipy/*/tests scipy/*/*/tests numpy/*/tests \
        /opt/pocketkube/.lock \
    && find tensorflow horovod -name '*.so*' -type f -exec strip --strip-unneeded {} +

FROM --platform=${TARGETPLATFORM} ${BASE} AS runtime
RUN --mount=type=secret,id=certificates --mount=type=secret,id=sources --mount=type=secret,id=apt \
    export DEBIAN_FRONTEND=noninteractive APT_CONFIG=/run/secrets/apt \
    && apt-get -qq update \
    && apt-get -qq install --yes --no-install-recommends openmpi-bin openssh-client openssh-server > /dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* \
    # Host keys come with each job, never with an image that all jobs share.
    && rm -f /etc/ssh/ssh_host_* \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && useradd --uid 1000 --create-home --skel /dev/null --shell /bin/sh pocketkube
COPY --from=trimmed /opt/pocketkube /opt/pocketkube
# ssh runs no program that others than root may write, and a checkout has the modes its owner likes.
COPY --chmod=755 images/ssh/job_key /etc/ssh/
COPY --chmod=644 images/ssh/sshd_config images/ssh/ssh_config /etc/ssh/
COPY --chmod=644 images/openmpi/openmpi-mca-params.conf /etc/openmpi/
# Nothing is written outside /tmp: the root file system may be read-only.
ENV PATH=/opt/pocketkube/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/home/pocketkube TMPDIR=/tmp KERAS_HOME=/tmp/keras XDG_CACHE_HOME=/tmp/cache \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /home/pocketkube
USER 1000:1000
CMD ["pocketkube", "--help"]
ARG VERSION
LABEL org.opencontainers.image.title="PocketKube" \
    org.opencontainers.image.description="Makes trained Keras networks small and fast enough for phones." \
    org.opencontainers.image.version="${VERSION}"
COPY --from=application /application /opt/pocketkube
