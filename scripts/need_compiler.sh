#!/bin/sh
# llama.cpp needs a C++ compiler; installs one where that is possible, says what to do where it is not.
set -eu
command -v c++ >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -q && apt-get install -qy build-essential
else
    echo "A C++ compiler is needed to build llama.cpp. Install one (Debian: apt install build-essential) and run make again." >&2
    exit 2
fi
