# Each target does its own set-up. `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Where weights, traces and runs go; git does not see it.
VAR    ?= var
# A Python that has a CUDA build of torch already (python3, say): the two GPU targets then set nothing up.
GPU_PYTHON ?=
GPU_RUN    := $(or $(GPU_PYTHON),$(BIN)/python)
GPU_STAMP  := $(if $(GPU_PYTHON),,$(STAMP))
GPU_TESTS  := tests/models/test_models_varlen.py tests/service/test_engine_gpu.py tests/service/test_observability_gpu.py

.DEFAULT_GOAL := help
.PHONY: help setup demo study weights test test-observability bench-load bench-engine bench-peers bench-gpu test-gpu bench-metrics bench-frontend bench-scale bench-cost check format lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

setup: $(STAMP) ## make .venv with everything that the other targets need

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[load,test]'
	@touch $@

demo: $(STAMP) ## build two arms of mini variants, serve them, replay ten tasks, write a report (under two minutes)
	@rm -rf $(VAR)/demo
	@$(BIN)/xlmr-models synth --plan examples/demo/plan.toml --out $(VAR)/demo/models
	@# Status 5 is an invalid study: the machine was too noisy to measure on, which the page says first. A laptop
	@# often is, and a demo that ran whole has done what it is for; every other status fails.
	@$(BIN)/xlmr-load study examples/demo/study.toml --out $(VAR)/demo/study || { code=$$?; test $$code -eq 5 || exit $$code; \
	  echo "demo: all of it ran, but the study is INVALID here; its report says why" >&2; }

study: $(STAMP) ## a whole study with its controls (eight minutes on two quiet cores) into docs/benchmarks
	$(BIN)/python benchmarks/bench_study.py

weights: $(STAMP) ## mini synthetic variants into $(VAR)/models, for docker compose and for trying things out
	$(BIN)/xlmr-models synth --plan examples/demo/plan.toml --out $(VAR)/models

# One process more than cores, since some files mostly wait for the programs that they have started. In the order in
# which they are found, so that long files of few tests are not all begun last.
test: $(STAMP) ## every test that needs no GPU, but for those of test-observability; first those that share the cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not observability and not alone" \
	  --numprocesses 3 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest -m "not observability and alone"

test-observability: $(STAMP) ## a real Prometheus (Debian's package) watches a service, load runs and faults (two minutes)
	$(BIN)/python -m pytest tests/observability

bench-load: $(STAMP) ## measure the load tester itself on a quiet machine (an hour; goes on where it ended) into docs/benchmarks
	$(BIN)/python benchmarks/bench_load.py

bench-engine: $(STAMP) ## measure the forward pass beside the best matrix product (ten minutes) into docs/benchmarks
	$(BIN)/python benchmarks/bench_engine.py

bench-peers: $(STAMP) ## the service beside Infinity, LitServe, FastAPI, Ray Serve (QUICK=1: 20 minutes; else hours, resumable)
	$(BIN)/python benchmarks/bench_peers.py $(if $(QUICK),--quick,--tune)

bench-metrics: $(STAMP) ## measure what metrics and traces cost a request (a minute) into docs/benchmarks
	$(BIN)/python benchmarks/bench_metrics.py

bench-frontend: $(STAMP) ## measure the HTTP path around the model (five minutes) into docs/benchmarks
	$(BIN)/python benchmarks/bench_frontend.py

bench-scale: $(STAMP) ## measure how cost grows with load, variants, length and HTTP processes (fifteen minutes; goes on where it ended)
	$(BIN)/python benchmarks/bench_scale.py

bench-cost: $(STAMP) ## measure how well the cost of a batch is predicted (four minutes) into docs/benchmarks
	$(BIN)/python benchmarks/bench_cost.py

bench-gpu: $(GPU_STAMP) ## the engine on a CUDA device beside the best matrix product (nine minutes) into docs/benchmarks
	$(GPU_RUN) benchmarks/bench_gpu.py $(if $(COMMIT),--commit $(COMMIT))

test-gpu: $(GPU_STAMP) ## the tests that need a CUDA device
	@$(GPU_RUN) -c 'import sys, torch; torch.cuda.is_available() or sys.exit("There is no CUDA device here; run this where there is one.")'
	$(GPU_RUN) -m pytest -m gpu $(GPU_TESTS)

check: $(STAMP) ## format, lint, types, layers, declared dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

format: $(STAMP) ## put every file into the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(STAMP) ## write the versions that are installed now into constraints.txt
	$(BIN)/python scripts/lock.py > constraints.txt.new && mv constraints.txt.new constraints.txt

clean: ## remove what the project made (not .venv)
	rm -rf $(VAR) .mypy_cache .ruff_cache .pytest_cache .hypothesis
