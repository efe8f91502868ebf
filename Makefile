# Everything runs in .venv, made on first use from nothing but Python 3.11+ and a package index.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test test-slow test-oracle test-beam test-real-data test-torture lint docs docs-links notebooks release clean

demo: $(VENV)/installed
	$(RUN) demo/run_demo.py $(DEMO_FLAGS)

# A process a core; each holds TensorFlow and grows to some gigabytes, so four at most. Files stay
# whole, because their tests share what they prepare, and in order, because long ones come early.
IN_PROCESSES := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(VENV)/installed
	$(RUN) -m pytest $(IN_PROCESSES)

# What takes longer: kills and resumes, the wheel in an environment of its own, the README.
# SLOW=2/3 runs the second third of their files, and of each test that has many cases the first.
SLOW ?= full
test-slow: $(VENV)/installed
	ALBERT_TF_SLOW=$(SLOW) $(RUN) -m pytest -m slow $(IN_PROCESSES)

# The same numbers as transformers (with PyTorch), KerasHub and our models on JAX.
test-oracle: $(VENV)/installed-oracle
	$(RUN) -m pytest -m oracle $(IN_PROCESSES)

# The same bytes on Apache Beam, which brings an older protobuf than SentencePiece's own messages
# want: transformers does not read our vocabularies beside it.
test-beam: $(VENV)/installed-beam
	$(RUN) -m pytest -m oracle $(IN_PROCESSES) tests/oracles/test_beam.py

# Checks on real text: ALBERT_TF_DATA names a folder with wiki/, books/ and 30k-clean.model.
test-real-data: $(VENV)/installed
	$(RUN) -m pytest -m real_data

# Damaged and hostile files of every format that is read, and kills: 2,000 files take ten minutes,
# and tables say what became of them. TORTURE=small reads a fixed few of each format, beside kills.
TORTURE ?= full
test-torture: $(VENV)/installed
	ALBERT_TF_TORTURE=$(TORTURE) $(RUN) -m pytest -m torture $(if $(filter small,$(TORTURE)),$(IN_PROCESSES),-s)

lint: $(VENV)/installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

# The guides, the notebooks and the public names as a site: build/docs/index.html. A warning is an
# error, and so is a link inside it that leads nowhere.
SPHINX := $(RUN) -m sphinx --quiet --fail-on-warning --keep-going
docs: $(VENV)/installed
	$(SPHINX) docs build/docs

# The notebooks, run anew, with what they print.
notebooks: $(VENV)/installed
	$(RUN) docs/run_notebooks.py

# The links that lead out of it, which needs the network.
docs-links: $(VENV)/installed
	$(SPHINX) -b linkcheck docs build/docs-links

# Wheel and source in dist/, checked, and tried with the lowest and newest versions that setup.py
# allows; needs the network and half an hour.
release: $(VENV)/installed-release
	$(RUN) release/make_release.py

$(VENV)/installed: setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11. Received: " + sys.version.split()[0])'
	@echo "Making the environment in $(VENV): TensorFlow is large, this takes a minute or two."
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/installed-oracle: $(VENV)/installed
	$(RUN) -m pip install --quiet --editable '.[test,oracle]'
	@touch $@

$(VENV)/installed-release: $(VENV)/installed
	$(RUN) -m pip install --quiet --editable '.[test,release]'
	@touch $@

$(VENV)/installed-beam: $(VENV)/installed
	$(RUN) -m pip install --quiet --editable '.[test,beam]'
	@touch $@

clean:
	rm -rf $(VENV) demo_output build dist *.egg-info
