# make run     compresses a network on this machine, in a few minutes; ends with a table and a report
# make test    all tests but those on a cluster, and lint; make test-fast leaves the slow ones out
# make docs    the documentation as a site, in build/docs
# make cluster a real Kubernetes on this machine (ARM=1: with an arm64 node); make cluster-down ends it
# make test-cluster  the tests on it, or on the cluster that KUBECONFIG names
# All of these set themselves up. They need Python 3.11, make and a way to a package index.

VENV := .venv
PYTHON := $(VENV)/bin/python
export PATH := $(CURDIR)/$(VENV)/tools/bin:$(PATH)
# Without compiled modules every start of TensorFlow takes three times as long, and the tests start many.
unexport PYTHONDONTWRITEBYTECODE
SPEC ?= examples/digits.yaml
OUTPUT ?= runs/$(basename $(notdir $(SPEC)))
# A file's tests share what they made ready; two or four files at once keep the cores busy.
PYTEST := $(PYTHON) -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --ignore tests/cluster

.PHONY: run test test-fast test-cluster cluster cluster-down load horovod horovod-if-possible images pipelines manifests docs bench lint lock clean

run: $(VENV)/.ready
	$(PYTHON) -m pipelines.compression.compress_model $(SPEC) --output $(OUTPUT)

test: $(VENV)/.ready
	$(MAKE) --jobs=2 lint horovod-if-possible
	$(PYTEST)

horovod-if-possible: $(VENV)/.ready
	$(MAKE) horovod || echo "The distributed tests will be skipped: Horovod is not there."

# With BASE and CA_CERTIFICATES, as images/build.sh explains.
test-cluster: $(VENV)/.ready
	$(PYTHON) -m tests.cluster test

cluster: $(VENV)/.ready
	$(PYTHON) -m tests.cluster up $(if $(ARM),--arm)

cluster-down: $(VENV)/.ready
	$(PYTHON) -m tests.cluster down

load: $(VENV)/.ready
	$(PYTHON) -m tests.cluster load $(IMAGES) $(if $(KIND),--kind $(KIND))

test-fast: $(VENV)/.ready
	$(PYTEST) -m "not slow"

horovod: $(VENV)/.ready
	images/horovod/build_wheel.sh $(PYTHON)

# With BASE, CA_CERTIFICATES, ARCHES, TARGETS, REGISTRY and SBOM, as images/build.sh explains; ARM=1 adds arm64.
images:
	$(if $(ARM),ARCHES="amd64 arm64") images/build.sh $(TARGETS)

# With SPEC: the pipeline of its own stages instead. POCKETKUBE_IMAGE names the image in your registry.
pipelines: $(VENV)/.ready
	$(PYTHON) -m pipelines build $(if $(filter-out file,$(origin SPEC)),--spec $(SPEC))

# With POCKETKUBE_IMAGE, POCKETKUBE_BENCHMARK_IMAGE and POCKETKUBE_SUGGESTION_IMAGE, where a cluster pulls them
# from a registry.
manifests: $(VENV)/.ready
	$(PYTHON) -m manifests.generate

docs: $(VENV)/.ready
	$(PYTHON) -m docs.generate
	$(PYTHON) -m sphinx --fail-on-warning --keep-going --quiet docs build/docs

# PocketKube beside its peers, for hours; BENCH="--quick --seeds 0 --only channels" as tests/benchmarks/peers explains.
bench: $(VENV)/.ready
	$(PYTHON) -m tests.benchmarks.peers setup
	$(PYTHON) -m tests.benchmarks.peers run $(BENCH)
	$(PYTHON) -m tests.benchmarks.peers latency $(BENCH)

lint: $(VENV)/.ready
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

# uv comes from the package index into a folder of its own: nothing outside the checkout is touched.
$(VENV)/.ready: requirements/dev.lock pyproject.toml
	test -x $(VENV)/tools/bin/uv || { python3 -m venv $(VENV)/tools && $(VENV)/tools/bin/pip install --quiet uv; }
	test -x $(PYTHON) || uv venv --quiet --allow-existing --python 3.11 $(VENV)
	uv pip sync --quiet --require-hashes --python $(PYTHON) requirements/dev.lock
	uv pip install --quiet --no-deps --python $(PYTHON) --editable .
	touch $@

lock:
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --extra cluster --extra registry --extra translation -o requirements/runtime.lock pyproject.toml
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --extra dev -o requirements/dev.lock pyproject.toml
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 -c requirements/runtime.lock -o requirements/benchmark.lock requirements/benchmark.in
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 -c requirements/runtime.lock --overrides requirements/suggestion.overrides --excludes requirements/suggestion.excludes -o requirements/suggestion.lock requirements/suggestion.in
	$(PYTHON) -m tests.benchmarks.peers lock

clean:
	rm -rf $(VENV) build runs
