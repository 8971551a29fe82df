# `make env` creates .venv; `make demo` runs the whole chain from a synthetic catalogue to a report;
# `make test`, `make check` and `make bench` run the tests, the linters and the benchmarks;
# `make faults` kills, fills and damages for hours what `make test` does for a minute.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The demo needs none of the tools of the tests, which are a gigabyte.
DEMO_STAMP := $(VENV)/.installed-for-demo
DEMO_ITEMS ?= 2400
# The experts take the first of the minutes, the network the rest. Few items and little time call for
# small batches, and so small a model gains nothing from bf16.
# At twice this learning rate the model does not learn to match queries.
DEMO_TRAIN ?= --size tiny --minutes 3 --set precision=fp32 --set learning_rate=0.0015 --set warmup_steps=50 --set batch_size=32
FIT := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do $$p -c '$(FIT)' 2>/dev/null && { command -v $$p; break; }; done)
SOURCES := cli.py benchmarks commands encoders evaluation experts fusion kg schema serving training tests
# One thread per process: the models in the tests are small. Three processes on two cores, since each
# waits for servers and other processes for a fifth of its time.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: env demo test check bench faults clean

env: $(STAMP)

# A stamp newer than the files below means that there is nothing to do. A failed run leaves no stamp,
# so the next run starts over.
$(STAMP): EXTRA = dev
$(DEMO_STAMP): EXTRA = serve
$(STAMP) $(DEMO_STAMP): pyproject.toml constraints.txt
	@if [ ! -x $(BIN)/python ] && [ -z "$(PYTHON)" ]; then \
		echo "error: no Python 3.11 or 3.12 found: install one, or name one with make PYTHON=/path/to/python3.12" >&2; exit 1; fi
	@if command -v uv >/dev/null 2>&1; then \
		{ $(BIN)/python -c '$(FIT)' 2>/dev/null || uv venv --quiet --clear --python "$(PYTHON)" $(VENV); } && \
		uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --editable '.[$(EXTRA)]'; \
	else \
		{ $(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV); } && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRA)]'; \
	fi
	@touch $@ $(DEMO_STAMP)

demo: $(DEMO_STAMP)
	@set -eu; rm -rf ./demo; mkdir demo; export CATALOGRAPH_HOME=demo/catalog; \
	say() { echo; echo "\$$ catalograph $$*"; $(BIN)/catalograph "$$@"; }; \
	say sample demo/shop --items $(DEMO_ITEMS); \
	say ingest demo/shop/items.csv --max-rejects 5%; \
	say queries demo/shop/queries.csv; \
	say stats; \
	say show "$$(sed -n '2s/,.*//p' demo/shop/items.csv)"; \
	say train $(DEMO_TRAIN) --name demo; \
	say complete --target-precision 0.9 --out demo/completions.jsonl --write; \
	say report demo/report.html --completions demo/completions.jsonl --truth demo/shop/truth.csv; \
	echo; echo "the report: file://$(CURDIR)/demo/report.html"; \
	echo "to search and review it: $(BIN)/catalograph --home demo/catalog serve"

test: env
	$(TEST_ENV) $(BIN)/python -m pytest -n 3 --dist loadfile

check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)

bench: env
	@set -e; for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file; done

# What is done before for the same version is not done again.
faults: env
	$(TEST_ENV) $(BIN)/python -m tests.faults --resume

clean:
	rm -rf ./demo .mypy_cache .ruff_cache .pytest_cache
