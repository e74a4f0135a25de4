#!/bin/sh
# What builds the Android bridge: CMake, clang and lld, a JDK, Maven. Installs them where that is possible; elsewhere it
# says what is missing, and the tests that need it say that they were left out.
set -eu
missing=
for program in cmake:cmake cc:gcc clang:clang ld.lld:lld javac:openjdk-17-jdk-headless mvn:maven readelf:binutils; do
    command -v "${program%%:*}" >/dev/null || missing="$missing ${program#*:}"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -q && apt-get install -qy --no-install-recommends $missing && exit 0
fi
echo "The Android bridge is not built without:$missing (Debian: apt install$missing)" >&2
