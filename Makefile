# Eleven verbs: setup, serve, test, check, arm, clients, agents, schemathesis, bench, speedrun, clean.
# Each sets up what it needs from pinned requirements.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: setup serve test check arm clients agents schemathesis bench speedrun clean

setup: $(VENV)/.ready

serve: setup
	$(BIN)/puna serve --open

test: $(VENV)/.ready-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: $(VENV)/.ready-test
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# The kernels' own checks on an emulated Arm processor, as built for users and sanitized. Needs cmake and Debian's g++-aarch64-linux-gnu and
# qemu-user.
arm:
	set -e; for how in TESTS SANITIZE; do \
		cmake -S native -B native/build/arm/$$how -DPUNA_$$how=ON -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
			-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++; \
		cmake --build native/build/arm/$$how --target puna_native_check --parallel 2; \
		ASAN_OPTIONS=detect_leaks=0 qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu native/build/arm/$$how/puna_native_check neon; \
	done

# Other people's clients on a server with the shipped model, from an environment of their own: they do not all go with our own pins.
clients: setup .venv-clients/.ready
	PUNA_SERVE="$(BIN)/puna serve" .venv-clients/bin/python -m pytest tests/clients

.venv-clients/.ready: requirements-clients.txt
	$(PYTHON) -m venv .venv-clients
	.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile -r requirements-clients.txt
	touch $@

# Coding agents (over 1 GB, by npm) on a server with a scripted model. What two of them do after an install is called by name: npm may not.
agents: $(VENV)/.ready-test .agents/.ready
	PUNA_AGENTS=.agents $(BIN)/python -m pytest tests/agents

.agents/.ready: tests/agents/package.json
	mkdir -p .agents
	cp tests/agents/package.json .agents
	npm install --prefix .agents --ignore-scripts --no-audit --no-fund
	cd .agents/node_modules/@anthropic-ai/claude-code && node install.cjs
	cd .agents/node_modules/opencode-ai && node postinstall.mjs
	touch $@

# Ten times the requests, made of our own description, that the tests try.
schemathesis: $(VENV)/.ready-test
	PUNA_SCHEMATHESIS_CASES=2000 $(BIN)/python -m pytest tests/serve/test_schemathesis.py

bench: $(VENV)/.ready-test
	$(BIN)/python benchmarks/train_step.py

# From raw files (in PUNA_DATA_MIRROR) to a nano that talks and sees a little, in under 40 minutes of two cores.
speedrun: RUN = runs/speedrun$(if $(SIZE),-$(SIZE))
speedrun: setup
	$(BIN)/puna train recipes/speedrun.py --out $(RUN) $(if $(SIZE),--set size=$(SIZE)) $(if $(filter-out %/changes.json,$(wildcard $(RUN)/*)),--resume)

clean:
	rm -rf $(VENV) .venv-clients .agents

# The C++ kernels are built on the way if there is a compiler; a change to one builds them again.
$(VENV)/.ready: requirements.txt pyproject.toml $(wildcard native/CMakeLists.txt native/include/* native/src/*)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Puna needs Python 3.11 or newer; name one with make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing pinned requirements into $(VENV) (torch is the large one)"
	$(PIP) -r requirements.txt
	$(PIP) --no-deps --editable .
	touch $@

$(VENV)/.ready-test: $(VENV)/.ready requirements-test.txt
	$(PIP) -r requirements-test.txt
	$(PIP) --no-deps llama-models==0.3.0 # Meta's reference, for comparison: its requirements are not needed
	touch $@
