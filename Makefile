# Eight verbs: setup, serve, test, check, clients, schemathesis, bench, speedrun. Each sets up what it needs from pinned requirements.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: setup serve test check clients schemathesis bench speedrun clean

setup: $(VENV)/.ready

serve: setup
	$(BIN)/puna serve --open

test: $(VENV)/.ready-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: $(VENV)/.ready-test
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# Other people's clients on a server with the shipped model, from an environment of their own: they do not all go with our own pins.
clients: setup .venv-clients/.ready
	PUNA_SERVE="$(BIN)/puna serve" .venv-clients/bin/python -m pytest tests/clients

.venv-clients/.ready: requirements-clients.txt
	$(PYTHON) -m venv .venv-clients
	.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile -r requirements-clients.txt
	touch $@

# Ten times the requests, made of our own description, that the tests try.
schemathesis: $(VENV)/.ready-test
	PUNA_SCHEMATHESIS_CASES=2000 $(BIN)/python -m pytest tests/serve/test_schemathesis.py

bench: $(VENV)/.ready-test
	$(BIN)/python benchmarks/train_step.py

# From raw files (in PUNA_DATA_MIRROR) to a nano that talks and sees, in under 40 minutes on two cores.
speedrun: setup
	$(BIN)/puna train recipes/speedrun.py --out runs/speedrun $(if $(SIZE),--set size=$(SIZE)) $(if $(wildcard runs/speedrun),--resume)

clean:
	rm -rf $(VENV) .venv-clients

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
