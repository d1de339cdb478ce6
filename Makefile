# Spot Responder. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: audit soak help setup demo gameday replay test unit check fix bench build deploy clean lock sandbox

# The first Python 3.13 that runs: on the PATH (a shim of pyenv's may be there and not run), of uv, of pyenv.
PYTHON ?= $(shell for python in python3.13 "$$(uv python find 3.13 2>/dev/null)" "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13*/bin/python3.13; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null && { echo "$$python"; break; }; done)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)/layers/responder
export SAM_CLI_TELEMETRY := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:  ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup  ## See a fleet survive its interruptions in an AWS on this machine (no account needed)
	@python -m sandbox demo

EXPERIMENT ?= interrupt
TIME_SCALE ?= 0.1
gameday: setup  ## Interrupt the job and judge the hypothesis (EXPERIMENT=interrupt|terminate, TIME_SCALE=0.1)
	@python -m sandbox gameday $(EXPERIMENT) --time-scale $(TIME_SCALE)

STACK ?= spot-responder
replay: .venv/ready  ## After an outage: give its notices and dead letters again (STACK=, FROM=2026-11-22T09:00Z, TO=)
	@python -m replay --stack "$(STACK)" $(if $(FROM),--from "$(FROM)") $(if $(TO),--to "$(TO)")

# Two at once: most of the end-to-end tests' time is waiting. Their output comes when all is done. (Without job control, `set -m`, what
# runs beside could not be interrupted.)
define pytest_beside
	@mkdir -p out; echo "The end-to-end tests run beside the others (out/e2e.txt)."; \
	set -m; python -m pytest $(1) tests/e2e >out/e2e.txt 2>&1 & beside=$$!; set +m; trap "kill -INT -- -$$beside" INT TERM; \
	failed=0; python -m pytest $(1) --ignore=tests/e2e || failed=1; wait $$beside || failed=1; cat out/e2e.txt; exit $$failed
endef

test: setup  ## Run every test but the long ones
	$(call pytest_beside,)

soak: setup  ## The long tests: 2,000 notices, whole fuzz and fault runs (under half an hour)
	$(call pytest_beside,-m slow -s -v --timeout=1800)

unit: .venv/ready  ## Run the unit tests alone
	@python -m pytest -q tests/unit

check: setup  ## Lint, types, layers, template
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-cache
	cfn-lint template.yaml
	sam validate --lint --region us-east-1

audit: .venv-audit/ready  ## Let checkov look at the template (an environment of its own, 270 MB)
	@.venv-audit/bin/checkov --config-file .checkov.yaml

fix: .venv/ready  ## Format, and mend what the linter can
	ruff format .
	ruff check --fix .

bench: .venv/ready  ## Measure functions, bursts, interrupted jobs and money; write the documents' figures
	@for part in handlers burst overhead cost; do echo "== $$part"; python -m bench.$$part; done
	@python -m bench.table README.md docs/cost.md docs/checkpoint-interval.md

build: .venv/ready  ## sam build
	sam build

deploy: build  ## Deploy to your own account (sam deploy --guided)
	sam deploy --guided

clean:  ## Stop the sandbox and remove everything that was made here
	@if [ -x $(BIN)/python ]; then for run in "" /demo /gameday; do python -m sandbox stop --directory .sandbox$$run; done; fi
	rm -rf .venv .venv-sandbox .venv-audit .venv-node .aws-sam .sandbox out .mypy_cache .ruff_cache .pytest_cache .hypothesis

lock: .venv/ready  ## Pin the newest versions again
	pip-compile --quiet --upgrade --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-header -o layers/responder/requirements.txt requirements/layer.in
	pip-compile --quiet --upgrade --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-header -o requirements/dev.txt requirements/dev.in
	pip-compile --quiet --upgrade --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-header -o requirements/audit.txt requirements/audit.in
	cd requirements/node && npm update --package-lock-only --omit-lockfile-registry-resolved

setup: .venv/ready .venv-sandbox/ready .venv-node/ready  ## Install what is needed (the other targets do it by themselves)

.venv/ready: requirements/dev.txt layers/responder/requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.13 is needed: install it, or uv (then: uv python install 3.13)" >&2; exit 1; }
	@echo "Installing the tools (once, a minute or two) ..."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	@echo $(CURDIR)/sandbox/cli > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/spot-sandbox.pth"
	@touch $@

.venv-audit/ready: requirements/audit.txt
	@test -n "$(PYTHON)" || { echo "Python 3.13 is needed: install it, or uv (then: uv python install 3.13)" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv-audit
	@.venv-audit/bin/python -m pip install --quiet --require-hashes -r requirements/audit.txt
	@touch $@

.venv-sandbox/ready: sandbox/requirements.txt sandbox/emulator/pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.13 is needed: install it, or uv (then: uv python install 3.13)" >&2; exit 1; }
	@echo "Installing the embedded AWS (once, a minute or two) ..."
	@$(PYTHON) -m venv --clear .venv-sandbox
	@.venv-sandbox/bin/python -m pip install --quiet -r sandbox/requirements.txt
	@.venv-sandbox/bin/python -m pip install --quiet --no-build-isolation --no-deps -e sandbox/emulator
	@.venv-sandbox/bin/python -m spot_sandbox.catalogue .venv-sandbox/catalogue
	@touch $@

# Node.js is not needed but for one check of the state machines, which is skipped, with the reason, where it is missing.
.venv-node/ready: requirements/node/package.json requirements/node/package-lock.json
	@mkdir -p .venv-node
	@cp requirements/node/*.json .venv-node
	@if command -v npm >/dev/null; then npm ci --prefix .venv-node --silent --no-audit --no-fund \
		|| echo "warning: npm could not install asl-validator; the check that needs it is skipped" >&2; fi
	@touch $@
