"""A phone bundle, from a model to a folder that `idletune` starts from, each part checked against the original.

Built beside its place and renamed when it is whole: a failure leaves what was there before.

    base.gguf              the base model, for llama.cpp and for training
    onnx/                  the inference model for ONNX Runtime, where it was asked for
    lexicons.json settings.json LICENSE-MODEL
    idletune-*.whl install-termux.sh
    manifest.json          sizes, SHA-256, shape, tool versions, measured parity
"""

import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

from idletune.errors import UsageError
from idletune.formats.gguf_file import GgufFile, sha256
from idletune.formats.model_shape import ModelShape
from idletune.model.base_model import BaseModel
from idletune.model.bundle import BASE, FORMAT, MANIFEST, check_bundle
from idletune.progress import Bars, Progress

from .gguf_model import write_quantized
from .hugging_face_folder import write_hugging_face_folder
from .licence import licence_notice
from .output import built_beside, one_line
from .parity import compare, first_tokens, paragraphs
from .reference import Reference
from .sources import Source
from .training_check import LEAST_INT8_COSINE, check_training

PROJECT = Path(__file__).resolve().parents[2]
TERMUX = Path(__file__).parent / "termux" / "install-termux.sh"
TOOLS = ("idletune", "torch", "transformers", "onnx", "onnxruntime", "gguf", "llama-cpp-python", "peft")
SCRATCH_FACTOR = 8  # room needed beside a model while it is built, in sizes of the model
CHECK_TOKENS = 24  # of two paragraphs, for training


def build_bundle(
    source: Source,
    target: Path,
    *,
    kind: str | None = None,
    onnx: str | None = None,
    wheel: bool = True,
    bars: Bars = Progress,
    say: Callable[[str], None] = print,
) -> dict:
    """Build the bundle of `source` at `target`; returns its manifest.

    `kind` is the quantization of base.gguf (default: a GGUF as it is, a Hugging Face folder as Q4_0); `onnx`
    adds an inference model with those weights (int4, int8 or fp32). Raises UsageError and DamagedDataError;
    what was at `target` is untouched then.
    """
    _check_target(target, source)
    with built_beside(target) as folder, tempfile.TemporaryDirectory(prefix=".idletune-", dir=target.parent) as scratch:
        folder.mkdir()
        build = _Build(source, folder, Path(scratch), bars, say)
        if wheel:  # first: what may be missing on the machine is found out before the long work
            build.program()
        build.base(kind)
        build.training()
        if onnx:
            build.onnx(onnx)
        build.settings()
        manifest = build.manifest()
        check_bundle(folder / BASE)
    return manifest


class _Build:
    """The steps, in order; `parity` collects what they measured."""

    def __init__(self, source: Source, folder: Path, scratch: Path, bars: Bars, say: Callable[[str], None]):
        self.source, self.folder, self.scratch, self.bars, self.say = source, folder, scratch, bars, say
        self.parity: dict = {}
        self.phone_settings: dict = {}

    def base(self, kind: str | None) -> None:
        """base.gguf, and how much it loses against the original."""
        self.say(f"base.gguf from {self.source.path.name}")
        self.original = self.source.path
        if self.source.is_gguf:
            self.original = write_hugging_face_folder(self.source.path, self.scratch / "original", bars=self.bars)
        if self.source.is_gguf and kind is None:
            shutil.copyfile(self.source.path, self.folder / BASE)
        else:
            write_quantized(self.original, self.folder / BASE, kind or "Q4_0", self.bars)
        self.reference = Reference(self.original)
        self._measure_base()

    def training(self) -> None:
        """Training, run once and held against PyTorch."""
        self.say("training, beside PyTorch")
        check = check_training(self.folder / BASE, [text[:CHECK_TOKENS] for text in self.texts[:2]])
        if check.int8_cosine < LEAST_INT8_COSINE:
            self.say(
                f"with int8 products the gradient leaves its direction (cosine {check.int8_cosine:.2f}): float32 alone"
            )
            self.phone_settings["matmul_dtype"] = "float32"
        self.parity["training"] = asdict(check)

    def onnx(self, weights: str) -> None:
        from .onnx_model import export_onnx_model

        self.say(f"onnx/ with {weights} weights")
        self.parity["onnx"] = export_onnx_model(
            self.original, self.folder / "onnx", weights, self.reference, self.texts, self.scratch, self.bars
        )

    def settings(self) -> None:
        # For what this phone's settings should be; the defaults stay the program's, which may improve on them.
        (self.folder / "settings.json").write_text(json.dumps(self.phone_settings) + "\n", encoding="utf-8")
        (self.folder / "lexicons.json").write_bytes((files("idletune") / "data" / "lexicons.json").read_bytes())
        (self.folder / "LICENSE-MODEL").write_text(licence_notice(self.source.path), encoding="utf-8")

    def program(self) -> None:
        """The program's own wheel (pure Python), and the script that installs it in Termux."""
        self.say("idletune's wheel")
        if not (PROJECT / "pyproject.toml").is_file():
            raise UsageError("the wheel is built from IdleTune's source folder; run this in a clone of it")
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        # A copy, so that building leaves nothing in the clone.
        copy = self.scratch / "project"
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        for name in ("device", "export"):
            shutil.copytree(PROJECT / name, copy / name, ignore=ignore)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(PROJECT / name, copy)
        done = subprocess.run([*command, "--wheel-dir", self.folder, copy], capture_output=True, text=True)
        if done.returncode:
            raise UsageError(f"pip cannot build the wheel: {done.stderr.strip().splitlines()[-1]}; install hatchling")
        version = importlib.metadata.version("llama-cpp-python")
        script = TERMUX.read_text(encoding="utf-8").replace("@LLAMA_CPP_PYTHON@", version)
        (self.folder / TERMUX.name).write_text(script, encoding="utf-8")

    def manifest(self) -> dict:
        """Written last: what it vouches for is all there."""
        shape = ModelShape.of(GgufFile(self.folder / BASE))
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        manifest = {
            "format": FORMAT,
            "name": self.source.name,
            "shape": shape.summary(),
            "parity": self.parity,
            "tools": {"python": platform.python_version()} | {t: importlib.metadata.version(t) for t in TOOLS},
            "files": {
                path.relative_to(self.folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
                for path in paths
            },
        }
        (self.folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        return manifest

    def _measure_base(self) -> None:
        with BaseModel(self.folder / BASE, context_tokens=512, sequences=1) as model:
            self.texts = paragraphs(model.tokenize, first_tokens(self.reference))
            found = compare({"original": self.reference.logits, BASE: model.logits}, self.texts, self.bars)
        self.parity |= {name: parity.to_dict() for name, parity in found.items()}


def _check_target(target: Path, source: Source) -> None:
    if target.exists() and not (target / MANIFEST).is_file() and any(target.iterdir() if target.is_dir() else [target]):
        raise UsageError(f"{target} exists and is no bundle; name another folder with -o")
    with one_line(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(prefix=".idletune-", dir=target.parent).cleanup()
        free = shutil.disk_usage(target.parent).free
    need = SCRATCH_FACTOR * sum(path.stat().st_size for path in _model_files(source.path))
    if free < need:
        room = f"{need // 1_000_000} MB in {target.parent}, {free // 1_000_000} MB are free"
        raise UsageError(f"building takes about {room}; free some storage or name another folder with -o")


def _model_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else list(path.glob("*.safetensors"))
