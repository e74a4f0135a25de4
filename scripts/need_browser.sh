#!/bin/sh
# The browser that the tests of the page use: Chromium. Installs it where that is possible; elsewhere it says so and
# fails, and make test goes on without these tests.
set -eu
for program in chromium chromium-browser google-chrome; do
    command -v "$program" >/dev/null && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -q && apt-get install -qy --no-install-recommends chromium && exit 0
fi
echo "The page is not tested in a browser without chromium (Debian: apt install chromium)" >&2
exit 2
