#!/bin/sh
# What builds the Android bridge: CMake, clang and lld, a JDK, Maven. Installs them where that is possible; elsewhere it
# says what is missing and fails, and make test goes on without the tests that need it.
set -eu
missing=
for program in cmake:cmake cc:gcc clang:clang ld.lld:lld javac:JDK mvn:maven readelf:binutils; do
    command -v "${program%%:*}" >/dev/null || missing="$missing ${program#*:}"
done
[ -z "$missing" ] && exit 0
install=false
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q && install=true
# 17 is the least that will do: newer systems have it no more, the default of older ones is older.
jdk=openjdk-17-jdk-headless
[ -n "$(apt-cache show $jdk 2>/dev/null)" ] || jdk=default-jdk-headless
missing=$(echo "$missing" | sed "s/JDK/$jdk/")
$install && apt-get install -qy --no-install-recommends $missing && exit 0
echo "The Android bridge is not built without:$missing (Debian: apt install$missing)" >&2
exit 2
