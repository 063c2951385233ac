# From a bare clone: `make demo` (a derained video) and `make test` (the suite). Both set .venv up first, once.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PY := .venv/bin/python
READY := .venv/.ready
CONFIG ?= configs/stream-nano-frames.yaml configs/stream-nano.yaml configs/stream-nano-large-crops.yaml
MINUTES ?= 30
TRT := .venv-tensorrt/bin/python
TRT_READY := .venv-tensorrt/.ready

.PHONY: help setup demo test test-tensorrt lint format bench soak train clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY) ## make .venv with pinned versions (once, and again when they change)
	@echo "setup: .venv is ready"

$(READY): pyproject.toml constraints/cpu.txt
	@test -n "$(PYTHON)" || { echo "derain needs Python 3.11 or newer, and none was found;" \
		"install one (Debian, Ubuntu: apt install python3.11 python3.11-venv) or name it: make setup PYTHON=/path/to/python3"; exit 1; }
	@test -x .venv/bin/pip || { echo "setup: making .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv .venv; } || { rm -rf .venv; \
		echo "setup: $(PYTHON) can't make a virtual environment (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@echo "setup: installing derain and what it needs into .venv (PyTorch alone is about 200 MB: minutes the first time)"
	@$(PY) -m pip install -qq --disable-pip-version-check -e '.[training,openvino,serve,otel,dev]' -c constraints/cpu.txt
	@touch $(READY)

demo: $(READY) ## make a rainy clip, derain it, compare: demo/*.mp4 and the PSNR before and after
	@$(PY) examples/demo.py demo

test: $(READY) ## run the whole suite: what bears company as two processes, then what has clocks (marked `alone`)
	@$(PY) -m pytest -n 2 --dist worksteal -m "not alone"; beside=$$?; $(PY) -m pytest -m alone && exit $$beside

test-tensorrt: $(TRT_READY) ## check the TensorRT runtime as far as that goes without a GPU (1.2 GB the first time)
	@timeout 1800 $(TRT) -m pytest -q -p no:cacheprovider --show-capture=no tests/tensorrt

$(TRT_READY): constraints/tensorrt.txt tests/tensorrt/without_gpu.py
	@test -n "$(PYTHON)" || { echo "test-tensorrt: Python 3.11 or newer was not found; name it: make test-tensorrt PYTHON=..."; exit 1; }
	@test -x .venv-tensorrt/bin/pip || $(PYTHON) -m venv .venv-tensorrt
	@echo "test-tensorrt: installing TensorRT-RTX, Torch-TensorRT and PyTorch into .venv-tensorrt (1.2 GB and more)"
	@$(TRT) -m pip install -qq --disable-pip-version-check torch torch-tensorrt-rtx safetensors filelock pyyaml pytest \
		pytest-timeout -c constraints/tensorrt.txt
	@$(TRT) tests/tensorrt/without_gpu.py
	@touch $(TRT_READY)

lint: $(READY) ## ruff and mypy
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

format: $(READY) ## let ruff lay the code out
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

bench: $(READY) ## measure this machine (4 minutes; let nothing else run) and rewrite the figures in docs/benchmarks.md
	@$(PY) benchmarks/update_docs.py

soak: $(READY) ## run a live stream for MINUTES=30 with outages: memory, files, threads and age must not grow
	@$(PY) benchmarks/soak.py --minutes "$(MINUTES)"

train: $(READY) ## train a network (CONFIG=configs/NAME.yaml, several in turn; a stopped run goes on)
	@for config in $(CONFIG); do $(PY) -m pipeline train "$$config" || exit; done

clean: ## remove what the targets made, but .venv and runs/
	@rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache *.egg-info
	@find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
