"""What the attack starts from: the tiny random model, an adapter made elsewhere, and homes that have learned."""

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import faulty_life
import numpy as np
from faulty_life import Child, answer, observe, telling
from idletune.formats.gguf_file import GgufFile
from idletune.formats.gguf_writer import write_gguf
from idletune.formats.model_shape import ModelShape
from idletune.runtime import Runtime
from idletune.state.adapter_records import KEPT_STATES
from idletune.training.lora import Lora

FOREIGN = "foreign.gguf"
VICTIM = "victim"  # a folder beside each home: what is in it is none of IdleTune's business
SETTINGS = replace(faulty_life.SETTINGS, reply_tokens=12)


def foreign_adapter(model: Path) -> Path:
    """An adapter for the tiny model that somebody else trained; made once."""
    path = model.parent / FOREIGN
    if not path.exists():
        write_adapter(path, model)
    return path


def write_adapter(path: Path, model: Path, change=lambda flat: flat, **metadata) -> Path:
    """An adapter GGUF with small random weights, put through `change`."""
    lora = Lora(ModelShape.of(GgufFile(model)), "q,v", 2, 4.0).initialize(0)
    lora.flat += np.random.default_rng(1).standard_normal(lora.size).astype(np.float32) * 0.01
    lora.flat[...] = change(lora.flat)
    kept = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    write_gguf(path, {**kept, "adapter.lora.alpha": lora.alpha, **metadata}, lora.tensors())
    return path


class Learned:
    """A home with two adapters, an adopted one, answers, a waiting question and a checkpoint; copied for each case."""

    def __init__(self, folder: Path, model: Path, key: bytes | None):
        self.folder, self.model, self.key = folder, model, key
        self.original = folder / "original"
        self.original.mkdir(parents=True)
        lines = Child(self._make).end()
        if lines[-1:] != ["made"]:
            raise SystemExit(f"no home to attack: {lines[-3:]}")

    def _make(self, say) -> None:
        chance = random.Random(0)
        faulty_life.tell_inner_stages(lambda _: None)
        with Runtime(self.original, self.model, SETTINGS, sequences=2, key=self.key) as runtime:
            runtime.change_settings({"quiet_from": 0, "quiet_until": 0, "threads": 1})
            for _ in range(2):
                observe(runtime, chance, 6, lambda _: None)
                answer(runtime, chance, lambda _: None)
                runtime.learn(bars=telling(lambda _: None))
            observe(runtime, chance, 3, lambda _: None)
            answer(runtime, chance, lambda _: None)
            looks = iter(range(10_000))
            runtime.learn(should_stop=lambda: (self.original / "training.npz").exists() and next(looks) > 3)
            observe(runtime, chance, 1, lambda _: None)
            runtime.next_prompt()
            kept = [adapter.version for adapter in runtime.adapters.all() if adapter.state in KEPT_STATES]
        say("made" if len(kept) > 1 and (self.original / "training.npz").exists() else f"of adapters only {kept}")

    def copy(self, name: str) -> Path:
        """A fresh copy at folder/NAME/home, with a victim beside it."""
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.original, place / "home")
        (place / VICTIM).mkdir()
        (place / VICTIM / "mine.safetensors").write_text("not IdleTune's")
        (place / "victim.txt").write_text("not IdleTune's")
        return place / "home"


def outside(home: Path) -> dict:
    """Everything beside a home: names, kinds, modes and contents. What must be the same after a case."""
    found = {}
    for path in sorted(home.parent.rglob("*")):
        if path == home or home in path.parents:
            continue
        kind = "link" if path.is_symlink() else "folder" if path.is_dir() else "file" if path.is_file() else "other"
        content = os.readlink(path) if kind == "link" else path.read_bytes() if kind == "file" else ""
        found[str(path.relative_to(home.parent))] = (kind, path.lstat().st_mode, content)
    return found


def touched(before: dict, home: Path) -> list[str]:
    """What of `outside` was changed, made or removed since."""
    after = outside(home)
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
