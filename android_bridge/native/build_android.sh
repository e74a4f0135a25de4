#!/bin/sh
# libidletune.so for Android, in DIR/arm64-v8a and DIR/x86_64: build_android.sh DIR
# With ANDROID_NDK_HOME the NDK builds it. Without, clang and lld do: the little that is used of Android's C library is
# declared in system.h, and linked against stubs of the same names. jni.h comes from the JDK.
set -eu
out=${1:?where to, for instance build/android}
here=$(cd "$(dirname "$0")" && pwd)
api=26

with_ndk() {
    cmake -S "$here" -B "$out/cmake-$1" -DANDROID_ABI="$1" -DANDROID_PLATFORM=$api -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_TOOLCHAIN_FILE="$ANDROID_NDK_HOME/build/cmake/android.toolchain.cmake"
    cmake --build "$out/cmake-$1"
    cp "$out/cmake-$1/libidletune.so" "$out/$1/"
}

stub() { # target, library, functions
    target=$1 library=$2
    shift 2
    for function in "$@"; do echo "void $function(void) {}"; done |
        clang --target="$target" -ffreestanding -fno-builtin -nostdlib -shared -fPIC -fuse-ld=lld \
            -Wl,-soname,"$library.so" -x c - -o "$stubs/$library.so"
}

without_ndk() { # ABI, target
    stubs=$(mktemp -d)
    trap 'rm -rf "$stubs"' EXIT
    stub "$2" libc malloc free memcpy memset strlen setenv usleep access
    stub "$2" libdl dlopen dlsym dlerror
    : > "$stubs/stdio.h" # jni.h includes it and uses nothing of it
    clang --target="$2" -std=c11 -O2 -Wall -Wextra -Werror -DIDLETUNE_FREESTANDING -ffreestanding -fPIC \
        -fvisibility=hidden -fno-stack-protector $3 -nostdlib -shared -fuse-ld=lld \
        -I"$stubs" -I"$jdk/include" -I"$jdk/include/linux" -L"$stubs" \
        -Wl,-soname,libidletune.so -Wl,-z,max-page-size=16384 -Wl,-z,now -Wl,--no-undefined -Wl,--build-id=none \
        "$here/idletune.c" "$here/python.c" "$here/idletune_jni.c" -lc -ldl -o "$out/$1/libidletune.so"
    rm -rf "$stubs"
}

mkdir -p "$out/arm64-v8a" "$out/x86_64"
if [ -n "${ANDROID_NDK_HOME:-}" ]; then
    with_ndk arm64-v8a
    with_ndk x86_64
else
    jdk=${JAVA_HOME:-$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")}
    without_ndk arm64-v8a aarch64-linux-android$api -mno-outline-atomics
    without_ndk x86_64 x86_64-linux-android$api ""
fi
