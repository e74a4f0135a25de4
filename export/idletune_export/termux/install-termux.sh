#!/data/data/com.termux/files/usr/bin/sh
# Installs IdleTune in Termux from the bundle this script lies in. Run: sh install-termux.sh
# With an encrypted state already there: sh install-termux.sh --key-file FILE
# Termux packages bring numpy, ONNX Runtime and llama.cpp; only small Python packages come through pip.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=${IDLETUNE_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/idletune}
model=$home/bundle/base.gguf

fail() { echo "install-termux: $1" >&2; exit 2; }
[ -f "$here/manifest.json" ] || fail "no manifest.json in $here; copy the whole bundle"
command -v pkg >/dev/null || fail "this is for Termux; elsewhere: pip install $here/idletune-*.whl"

pkg install -y python python-pip python-numpy python-onnxruntime llama-cpp cmake ninja clang

# llama-cpp-python is Python alone when it is told to use Termux's libllama. Its structures must be those of
# that library, so it is loaded once below; where it does not fit, the bundle's onnx/ answers instead.
pip install jinja2 prompt_toolkit typing-extensions diskcache scikit-build-core starlette uvicorn
backend=llama.cpp
CMAKE_ARGS=-DLLAMA_BUILD=OFF pip install --no-build-isolation --no-deps "llama-cpp-python==@LLAMA_CPP_PYTHON@" || backend=
pip install --no-deps --force-reinstall "$here"/idletune-*.whl

mkdir -p "$home"
chmod 700 "$home"
if [ "$here" != "$home/bundle" ]; then
    rm -rf "$home/bundle.part"
    cp -r "$here" "$home/bundle.part"
    rm -rf "$home/bundle"
    mv "$home/bundle.part" "$home/bundle"
fi
[ -f "$home/settings.json" ] || cp "$here/settings.json" "$home/settings.json"

LLAMA_CPP_LIB_PATH=$PREFIX/lib
export LLAMA_CPP_LIB_PATH
# On the model alone: what else may keep IdleTune from starting is no fault of llama.cpp's.
load='import sys; from idletune.model.llama_engine import LlamaEngine; LlamaEngine(sys.argv[1], cells=256, sequences=1, threads=1).close()'
if [ -n "$backend" ] && ! python -c "$load" "$model"; then backend=; fi
if [ -z "$backend" ]; then
    [ -d "$here/onnx" ] || fail "llama.cpp does not load the model; where the lines above do not tell otherwise, Termux's does not fit llama-cpp-python @LLAMA_CPP_PYTHON@: build the bundle with --onnx int4"
    backend=onnx
fi
idletune status --model "$model" --backend "$backend" "$@" || fail "IdleTune does not start; see the line above"

# idletune with this bundle's model: idletune-phone COMMAND ...; and the command used most by a name of its own.
cat > "$PREFIX/bin/idletune-phone" <<START
#!$PREFIX/bin/sh
export LLAMA_CPP_LIB_PATH=$PREFIX/lib
[ \$# -gt 0 ] || exec idletune --help
command=\$1
shift
exec idletune "\$command" --model "$model" --backend $backend "\$@"
START
cat > "$PREFIX/bin/idletune-chat" <<START
#!$PREFIX/bin/sh
exec sh "$PREFIX/bin/idletune-phone" chat "\$@"
START
chmod +x "$PREFIX/bin/idletune-phone" "$PREFIX/bin/idletune-chat"
echo "IdleTune is installed with $backend. Talk to it: idletune-chat"
echo "Its page in a browser, and OpenAI's API for chat programs: idletune-phone web"
echo "Let it learn at night and ask by notifications (Termux:API): idletune-phone termux install"
echo "Each takes --key-file FILE where the state is encrypted. What the nights brought: idletune-phone status"
