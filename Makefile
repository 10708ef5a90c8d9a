# make demo: train on a synthetic cohort, export, predict three new scans, explain one of them.
# make test: all tests. Each sets up what it needs; only python3 (3.11 or later), pip and make are
# expected on the machine.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   := outputs/demo
SBOM   := outputs/sbom-tool
LOWEST := tests/config/test_config_describe.py tests/report/test_brain.py

.PHONY: help install demo test lint docs package-check lowest images-check sbom
.DEFAULT_GOAL := help

help:
	@echo "make demo   train on a synthetic cohort, export, predict three new scans, explain one"
	@echo "make test   run the tests"
	@echo "make docs   the site, in docs/_build/html; a warning or a broken link fails it"
	@echo "make lint   style, types and import contracts"
	@echo "make package-check   wheel and sdist, each in a new environment, used in empty folders"
	@echo "make lowest   the lowest versions that pyproject.toml allows: train, predict, run tests"
	@echo "make images-check   the steps of containers/ in clean environments, without network"
	@echo "make sbom   what the images hold, as CycloneDX, in outputs/images"

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@echo "installing into $(VENV); the first time this downloads about 1 GB"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fmnet needs Python 3.11 or later: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[train,harmonise,sign,slurm,atlas,benchmark,track,docs,dev]'
	@touch $@

demo: $(READY)
	@echo "1/5 training on a SYNTHETIC cohort (nobody was scanned)"
	@$(BIN)/python scripts/train.py run_dir=$(DEMO)/run overwrite=true
	@echo "2/5 exporting"
	@$(BIN)/python scripts/export.py run_dir=$(DEMO)/run out=checkpoints/demo overwrite=true
	@echo "3/5 making new people whom no model ever saw, with the same effect"
	@$(BIN)/python scripts/make_cohort.py $(DEMO)/new-people --n-subjects 4 --effect-size 2.5 --seed 2
	@echo "4/5 predicting three of them"
	@$(BIN)/python scripts/predict.py checkpoints/demo --overwrite --out $(DEMO)/predictions.tsv \
		--cards $(DEMO)/cards $(DEMO)/new-people/sub-synthetic00[1-3]/func/*_statmap.nii.gz
	@$(BIN)/python -c 'import pandas; read = lambda name: pandas.read_csv("$(DEMO)/" + name, sep="\t", keep_default_na=False); table = read("predictions.tsv"); people = table["scan"].str.extract("(sub-[^_/]+)")[0]; truth = read("new-people/participants.tsv").set_index("participant_id")["group"]; print(table.assign(person=people, truth=people.map(truth))[["person", "truth", "score", "probability", "set", "status"]].to_string(index=False))'
	@echo "5/5 explaining one of them"
	@$(BIN)/python scripts/explain.py checkpoints/demo --out $(DEMO)/explained \
		$(DEMO)/new-people/sub-synthetic001/func/*_statmap.nii.gz
	@echo
	@echo "report      $(DEMO)/run/report.html"
	@echo "brain       $(DEMO)/run/brain.png"
	@echo "explained   $(DEMO)/explained"
	@echo "signature   checkpoints/demo"
	@echo "predictions $(DEMO)/predictions.tsv, a page on each in $(DEMO)/cards"

# a process for each core, of one thread; those of a file share what they train
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses=8 --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# tutorials run once and again when they change; DOCS="-D plot_gallery=0" runs none of them
docs: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -b html -E -W --keep-going -q $(DOCS) docs docs/_build/html
	$(if $(DOCS),,OMP_NUM_THREADS=1 $(BIN)/jupyter execute docs/tutorials/plot_02_your_data.ipynb)

package-check: $(READY)
	BIN=$(BIN) .ci/package outputs/package $(PACKAGE)

# where what is installed beside fmnet is called
lowest: $(READY)
	BIN=$(BIN) .ci/lowest outputs/lowest $(LOWEST)

images-check:
	sh containers/check.sh outputs/images predict
	sh containers/check.sh outputs/images train

# in an environment of its own: its validators make jsonschema, which MONAI imports, take 2 s to import
sbom: $(SBOM)/bin/cyclonedx-py
	for kind in predict train; do \
		test -x outputs/images/$$kind/bin/python || sh containers/check.sh outputs/images $$kind; \
		$(SBOM)/bin/cyclonedx-py environment outputs/images/$$kind/bin/python --pyproject pyproject.toml \
			--output-reproducible --of JSON -o outputs/images/$$kind.cdx.json || exit 1; \
	done

$(SBOM)/bin/cyclonedx-py: constraints.txt
	@$(PYTHON) -m venv $(SBOM)
	@$(SBOM)/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt cyclonedx-bom
	@touch $@
