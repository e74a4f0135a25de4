"""A fleet's folder on the machine of whoever runs it: terms, the base model's path, a key, progress, the result.

terms.json        what users agree to; goes to them
base              the path of the base model
key               Ed25519, signs the result (mode 0600)
app/              what Flower sends to the nodes: three lines that import this package
progress.npz      the shared B after the last round
fleet.gguf, .json the adapter and its signed statement; go to the users
"""

import io
import json
import math
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from idletune.errors import DamagedDataError, UsageError
from idletune.fleet.privacy import epsilon
from idletune.fleet.result import canonical
from idletune.fleet.shared import a_digest, b_of, use_b
from idletune.fleet.terms import Terms
from idletune.formats.gguf_file import GgufFile, sha256
from idletune.formats.gguf_writer import gguf_bytes
from idletune.formats.model_shape import ModelShape
from idletune.small_files import read_json_object, write_whole
from idletune.training.lora import Lora

APP = "app"
PROJECT = """# The app that Flower sends to the nodes. Its code is the package idletune_fleet, installed on both sides.
[project]
name = "idletune-fleet-app"
version = "1.0.0"
dependencies = []

[tool.flwr.app]
publisher = "idletune"

[tool.flwr.app.components]
serverapp = "idletune_fleet_app.apps:server"
clientapp = "idletune_fleet_app.apps:client"

[tool.flwr.app.config]
folder = {folder}
wait-seconds = 3600.0  # for the phones of a round
pause-seconds = {pause}  # until phones are asked again whether they are ready
"""
APPS = '''"""What Flower runs."""

from idletune_fleet.client_app import app as client
from idletune_fleet.server_app import app as server

__all__ = ["client", "server"]
'''


@dataclass
class Progress:
    """The shared B, float32 (m,), the phones in each round's average, and the losses that phones told."""

    b: np.ndarray
    replies: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        return len(self.replies)

    def add(self, b: np.ndarray, replies: int, loss: float | None) -> None:
        """A round has ended; the loss is NaN where none was told."""
        self.b = b
        self.replies.append(replies)
        self.losses.append(np.nan if loss is None else loss)


@dataclass(frozen=True)
class FleetFolder:
    """An existing one. UsageError, DamagedDataError for what is none."""

    path: Path

    @classmethod
    def make(cls, path: Path, base: Path, terms: dict, pause_seconds: float) -> "FleetFolder":
        """A new one; `terms` lack the base model's hash and the key. UsageError where it exists."""
        if path.exists():
            raise UsageError(f"{path} exists; name a new folder for the fleet")
        key = Ed25519PrivateKey.generate()
        named = {"base_sha256": sha256(base), "operator_key": key.public_key().public_bytes_raw().hex()}
        whole = Terms.from_dict({**terms, **named})
        whole.lora(ModelShape.of(GgufFile(base)))
        (path / APP / "idletune_fleet_app").mkdir(parents=True, mode=0o700)
        write_whole(path / "key", key.private_bytes_raw())
        write_whole(path / "base", str(base.resolve()).encode())
        write_whole(path / "terms.json", json.dumps(whole.to_dict(), indent=1).encode())
        project = PROJECT.format(folder=json.dumps(str(path.resolve())), pause=float(pause_seconds))
        write_whole(path / APP / "pyproject.toml", project.encode())
        write_whole(path / APP / "idletune_fleet_app" / "__init__.py", b"")
        write_whole(path / APP / "idletune_fleet_app" / "apps.py", APPS.encode())
        return cls(path)

    @cached_property
    def terms(self) -> Terms:
        path = self.path / "terms.json"
        return Terms.from_dict(read_json_object(path, "a fleet's terms", "make a fleet with idletune-fleet new"))

    @cached_property
    def shape(self) -> ModelShape:
        base = Path((self.path / "base").read_text(encoding="utf-8"))
        if sha256(base) != self.terms.base_sha256:
            raise UsageError(f"{base} is not the base model that the fleet was made for")
        return ModelShape.of(GgufFile(base))

    def lora(self) -> Lora:
        """The adapter before the first round."""
        return self.terms.lora(self.shape)

    @cached_property
    def a_sha256(self) -> str:
        return a_digest(self.lora())

    def progress(self) -> Progress:
        """After the last round that was kept. DamagedDataError for a file that is not whole."""
        path = self.path / "progress.npz"
        if not path.is_file():
            return Progress(b_of(self.lora()))
        try:
            with np.load(path, allow_pickle=False) as kept:
                found = Progress(kept["b"], kept["replies"].tolist(), kept["losses"].tolist())
                terms = str(kept["terms"])
        except Exception:  # numpy and zipfile raise a dozen kinds
            raise DamagedDataError(f"{path} is damaged; remove it, and the fleet begins anew") from None
        if terms != self.terms.digest:
            raise UsageError(f"{path} is of other terms; make a new fleet for new terms")
        use_b(self.lora(), found.b)
        return found

    def keep(self, progress: Progress) -> None:
        """Whole or not at all, so that a kill costs the round under way and no more."""
        kept = io.BytesIO()
        losses = np.array(progress.losses, float)
        np.savez(kept, b=progress.b, replies=progress.replies, losses=losses, terms=np.array(self.terms.digest))
        write_whole(self.path / "progress.npz", kept.getvalue())

    def write_result(self, progress: Progress) -> None:
        """fleet.gguf, and fleet.json with the signed statement."""
        lora = self.lora()
        use_b(lora, progress.b)
        content = gguf_bytes(
            {
                "general.type": "adapter",
                "general.architecture": lora.shape.architecture,
                "general.name": f"Adapter of the fleet {self.terms.fleet}",
                "adapter.type": "lora",
                "adapter.lora.alpha": lora.alpha,
                "idletune.base_sha256": self.terms.base_sha256,
            },
            lora.tensors(),
        )
        write_whole(self.path / "fleet.gguf", content)
        statement = self.statement(progress)
        key = Ed25519PrivateKey.from_private_bytes((self.path / "key").read_bytes())
        signed = {"statement": statement, "signature": key.sign(canonical(statement)).hex()}
        write_whole(self.path / "fleet.json", json.dumps(signed, indent=1).encode())

    def statement(self, progress: Progress) -> dict:
        """What the result says of itself. `epsilon_of_one` is what a phone that took part in all rounds spent towards
        whoever runs the fleet, `epsilon_of_average` towards those who see the averages alone; null is no noise."""
        z, delta = self.terms.noise_multiplier, self.terms.delta
        made = progress.replies
        return {
            "terms": self.terms.digest,
            "fleet": self.terms.fleet,
            "adapter_sha256": sha256(self.path / "fleet.gguf"),
            "rounds": progress.rounds,
            "phones": progress.replies,
            "held_out_losses": [None if math.isnan(loss) else loss for loss in progress.losses],
            "epsilon_of_one": epsilon([z] * len(made), delta) if z else None,
            "epsilon_of_average": epsilon([z * replies**0.5 for replies in made], delta) if z else None,
            "delta": delta,
            "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
