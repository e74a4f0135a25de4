#!/bin/sh
# Copies a bundle to a phone: scripts/push.sh dist/phone/NAME adb:SERIAL
set -eu
bundle=$1
target=${2:-}
place=/sdcard/Download/idletune
fail() { echo "push: $1" >&2; exit 2; }
[ -f "$bundle/manifest.json" ] || fail "no bundle at $bundle; run make artifacts first"
case $target in
    adb:?*) serial=${target#adb:} ;;
    *) fail "TARGET is '$target'; give adb:SERIAL, adb devices lists the serials" ;;
esac
command -v adb >/dev/null || fail "adb is not installed (Debian: apt install adb)"
adb -s "$serial" get-state >/dev/null || fail "no phone $serial; adb devices lists what is connected"
name=$(basename "$bundle")
adb -s "$serial" shell mkdir -p "$place"
adb -s "$serial" shell rm -rf "$place/$name"
adb -s "$serial" push "$bundle" "$place/$name"
echo "On the phone, in Termux: termux-setup-storage, then sh ~/storage/downloads/idletune/$name/install-termux.sh"
