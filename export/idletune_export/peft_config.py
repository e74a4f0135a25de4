"""adapter_config.json of a PEFT folder: read by an allow-list, so that a variant of LoRA made tomorrow is refused too.

A file of matrices A and B says nothing of what was done to the base weights or to the forward pass: PiSSA and OLoRA
start from a changed base, DoRA rescales it. Only the configuration tells, so each of its keys has to be known here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from idletune.errors import DamagedDataError, UsageError

from .hugging_face_folder import read_json

# Keys that do not change what the saved matrices compute, whatever their value. Which layers carry an adapter is seen
# from the tensors; dropout, initial values' options and paths are of training alone.
ANY_VALUE = {
    "auto_mapping",
    "base_model_name_or_path",
    "ephemeral_gpu_offload",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_core",  # the name of a module, used with megatron_config alone
    "peft_version",
    "qalora_group_size",  # used with use_qalora alone
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
}
READ = {"peft_type", "r", "lora_alpha", "rank_pattern", "use_rslora"}
# Values that leave LoRA as it is; null stands for the default, which these are.
HARMLESS = {
    "alpha_pattern": ({},),
    "bias": ("none",),
    "ensure_weight_tying": (False,),
    "fan_in_fan_out": (False,),
    "init_lora_weights": (True, False, "gaussian", "orthogonal"),  # those that leave the base weights as they are
    "loftq_config": ({},),
    "lora_bias": (False,),
    "modules_to_save": ([],),
    "use_bdlora": (False,),
    "use_dora": (False,),
    "use_qalora": (False,),
}
LARGEST_RANK = 4096


@dataclass(frozen=True)
class PeftConfig:
    """What the matrices' update is scaled by: alpha / rank, or alpha / sqrt(rank) (rsLoRA).

    `ranks` are those of modules whose names end so, in place of `rank`.
    """

    rank: int
    alpha: float
    ranks: Mapping[str, int] = field(default_factory=dict)
    rslora: bool = False

    def rank_of(self, module: str) -> int:
        """Patterns are taken as they stand: PEFT reads regular expressions, whose own kind a name does not need."""
        named = (rank for end, rank in self.ranks.items() if f".{module}".endswith(f".{end}"))
        return next(named, self.rank)

    def alpha_of(self, ranks: set[int]) -> float:
        """The alpha that scales by alpha / rank in modules of these ranks. UsageError where there is none."""
        if not self.rslora:
            return self.alpha
        if len(ranks) > 1:
            raise UsageError(f"use_rslora with the ranks {sorted(ranks)} is not converted; train with one rank")
        return self.alpha * math.sqrt(max(ranks, default=self.rank))


def read_peft_config(folder: Path) -> PeftConfig:
    """UsageError names the key that this project cannot carry over; DamagedDataError for a file that is no JSON."""
    config = read_json(folder / "adapter_config.json")
    if config.get("peft_type") != "LORA":
        raise UsageError(f"the adapter is {config.get('peft_type')!r}, not LORA; only LoRA travels")
    for name, value in config.items():
        if not _is_harmless(name, value):
            shown = repr(value)[:60]
            raise UsageError(
                f"the adapter's configuration has {name}: {shown}, which plain LoRA does not know; train without it"
            )
    ranks = config.get("rank_pattern") or {}
    if not isinstance(ranks, dict):
        raise DamagedDataError(f"rank_pattern is {ranks!r:.60}, no ranks by name; save the adapter again")
    for name, rank in {"r": config.get("r"), **ranks}.items():
        if type(rank) is not int or not 1 <= rank <= LARGEST_RANK:
            raise DamagedDataError(f"the rank {name} is {rank!r}, not a whole number from 1 up; save the adapter again")
    alpha = _number(config.get("lora_alpha"))
    rslora = config.get("use_rslora")
    if rslora not in (None, True, False):
        raise UsageError(f"use_rslora is {rslora!r}, neither true nor false; save the adapter again")
    return PeftConfig(config["r"], alpha, ranks, bool(rslora))


def _is_harmless(name: str, value) -> bool:
    if value is None or name in READ or name in ANY_VALUE:
        return True
    # 0 == False in Python, and this is a file that others wrote: the types have to be the same.
    return any(value == known and type(value) is type(known) for known in HARMLESS.get(name, ()))


def _number(alpha) -> float:
    if type(alpha) not in (int, float) or not math.isfinite(alpha) or alpha == 0:
        raise UsageError(
            f"lora_alpha is {alpha!r}, so the strength of the update is not known; put the number that was trained with"
            " into adapter_config.json"
        )
    return float(alpha)
