#!/bin/bash
# An arm64 Python with numpy, ONNX Runtime and llama.cpp, run by qemu's user mode: scripts/arm64_environment.sh FOLDER
#
# Debian's arm64 packages are resolved by apt in a state of its own and unpacked, never installed: the machine's own
# package database stays as it is. Wheels come from PyPI, llama.cpp is cross-built from llama-cpp-python's source.
# Every step leaves a stamp in FOLDER and is done once.
set -euo pipefail
root=$(mkdir -p "$1" && cd "$1" && pwd)
python=${PYTHON:-python3}
onnxruntime="onnxruntime==1.27.*"       # later wheels crash at import under qemu 7.2
llama="llama-cpp-python==0.3.36"        # the version in pyproject.toml
cpu=armv8.2-a+dotprod+fp16              # what phones since 2018 have

fail() { echo "arm64: $1" >&2; exit 2; }
once() { [ -e "$root/.$1" ] || { echo "arm64: $1"; "$1" && touch "$root/.$1"; }; }

tools() {
    missing=()
    command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static)
    command -v aarch64-linux-gnu-g++ >/dev/null || missing+=(g++-aarch64-linux-gnu)
    command -v cmake >/dev/null || missing+=(cmake)
    command -v make >/dev/null || missing+=(make)
    [ ${#missing[@]} = 0 ] && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || fail "needs ${missing[*]}; install them (Debian: apt install)"
    apt-get -o DPkg::Lock::Timeout=300 update -q
    apt-get -o DPkg::Lock::Timeout=300 install -qy --no-install-recommends "${missing[@]}"
}

apt_arm64() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State="$root/apt" \
        -o Dir::State::status="$root/apt/status" -o Dir::Cache="$root/apt" -o APT::Sandbox::User=root "$@"
}

packages() {
    command -v dpkg >/dev/null || fail "unpacks Debian packages; run it on Debian"
    mkdir -p "$root/apt/lists/partial" "$root/apt/archives/partial"
    : > "$root/apt/status"
    apt_arm64 update
    apt_arm64 install -y --download-only --no-install-recommends python3 libstdc++6
    for package in "$root"/apt/archives/*.deb; do dpkg -x "$package" "$root"; done
}

wheels() {
    version=$(basename "$(ls -d "$root"/usr/lib/python3.* | head -1)" | sed 's/python//')
    "$python" -m pip install --quiet --target "$root/site" --python-version "$version" --implementation cp \
        --only-binary=:all: --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 \
        numpy "$onnxruntime" jinja2 typing-extensions diskcache
}

llama_cpp() {
    "$python" -m pip download --quiet --no-deps --no-binary=:all: --dest "$root/source" "$llama"
    tar xf "$root"/source/llama_cpp_python-*.tar.gz -C "$root/source"
    source=$(ls -d "$root"/source/llama_cpp_python-*/)
    cmake -S "$source/vendor/llama.cpp" -B "$root/source/build" -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
        -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
        -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DGGML_CPU_ARM_ARCH="$cpu" -DLLAMA_CURL=OFF \
        -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
        -DLLAMA_BUILD_TESTS=OFF
    cmake --build "$root/source/build" --target llama --parallel "$(nproc)"
    cp -r "$source/llama_cpp" "$root/site/"
    mkdir -p "$root/site/llama_cpp/lib"
    cp "$root"/source/build/bin/lib*.so* "$root/site/llama_cpp/lib/"
}

once tools
once packages
once wheels
once llama_cpp
