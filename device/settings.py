"""Every setting of the runtime, once: name, default and help. The command line and the docs read this."""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from .errors import DamagedDataError, UsageError

MOST_THREADS, MOST_TOKENS = 256, 131_072  # beyond any device: what crosses a bridge may be absurd
PERSONAL = ("system", "lexicons", "key_file")


def setting(default, help: str, choices: tuple = (), least=None, most=None):
    return field(default=default, metadata={"help": help, "choices": choices, "least": least, "most": most})


@dataclass(frozen=True)
class Settings:
    """Frozen; `replace` from dataclasses makes a changed copy, and values are checked when one is made."""

    # base model
    threads: int = setting(
        0, "threads of both engines; 0 = all cores; 1 = training repeats bit for bit", least=0, most=MOST_THREADS,
    )
    context_tokens: int = setting(1024, "tokens a conversation may hold", least=128, most=MOST_TOKENS)
    seed: int = setting(0, "seed of everything random", least=0, most=2**32 - 1)
    # chat
    system: str = setting("", "system message; empty = the model's own default")
    temperature: float = setting(0.7, "sampling temperature of answers; 0 = greedy", least=0, most=2)
    top_p: float = setting(0.9, "nucleus of sampling", least=0, most=1)
    reply_tokens: int = setting(256, "longest answer in tokens", least=1, most=MOST_TOKENS)
    retrieve: int = setting(
        3, "answered sets nearest to a message that are shown to the model before it; 0 = none", least=0, most=16
    )
    retrieve_tokens: int = setting(
        200, "tokens up to which further near ones are shown as well", least=0, most=MOST_TOKENS
    )
    # selection
    policy: str = setting(
        "recent_diverse", "which dialogue sets the buffer keeps",
        ("recent_diverse", "all_three", "eoe", "dss", "idd", "random", "fifo", "k_center", "diverse", "keep_first"),
    )
    eoe_reading: str = setting("token", "reading of the entropy of embedding", ("token", "histogram"))
    bins: int = setting(128, "dialogue sets the buffer holds", least=1, most=100_000)
    bin_bytes: int = setting(22 * 1024, "bytes a dialogue set may take, text and embedding", least=1024, most=2**24)
    lexicons: str = setting("", "folder of domain word lists (NAME.txt); empty = the built-in ones")
    # annotation
    daily_limit: int = setting(5, "questions to the user a day", least=0, most=1000)
    quiet_from: int = setting(22, "hour from which the user is not asked", least=0, most=23)
    quiet_until: int = setting(8, "hour until which the user is not asked", least=0, most=23)
    # synthesis
    paraphrases: int = setting(0, "paraphrases asked for per answered set", least=0, most=100)
    paraphrase: str = setting("question", "what is paraphrased", ("question", "both"))
    paraphrase_temperature: float = setting(0.5, "sampling temperature of paraphrases", least=0, most=2)
    rouge_least: float = setting(0.25, "ROUGE-1 F below which a paraphrase has lost the meaning", least=0, most=1)
    rouge_most: float = setting(0.9, "ROUGE-1 F above which a paraphrase is a copy", least=0, most=1)
    # training
    rank: int = setting(16, "rank of the LoRA adapter", least=1, most=64)
    alpha: float = setting(32.0, "LoRA alpha; the update is scaled by alpha / rank", least=1e-3, most=1e6)
    targets: str = setting("gate,up,down", "linear layers that get an adapter, of q,k,v,o,gate,up,down")
    top_share: float = setting(
        0.5, "share of the layers that get an adapter, from the output down; 1 = all", least=0, most=1
    )
    learn_questions: bool = setting(True, "train on the wording of the user's questions as well as on the answers")
    dropout: float = setting(0.0, "probability that a row trains without an input of the adapter", least=0, most=0.9)
    accumulate: int = setting(1, "rows whose gradients make one step", least=1, most=10_000)
    warm_start: bool = setting(False, "train on from the adapter that serves, not from the base")
    epochs: int = setting(3, "passes over the answered sets, and their paraphrases", least=1, most=10_000)
    least_steps: int = setting(24, "least steps; few or short answers are gone through again", least=0, most=10_000)
    learning_rate: float = setting(8e-4, "peak learning rate of AdamW", least=0, most=10)
    weight_decay: float = setting(0.0, "decoupled weight decay", least=0, most=10)
    clip_norm: float = setting(1.0, "longest gradient", least=0, most=1e6)
    row_tokens: int = setting(256, "tokens packed into a training row", least=16, most=MOST_TOKENS)
    example_tokens: int = setting(256, "tokens of one dialogue set; longer ones are cut", least=16, most=MOST_TOKENS)
    memory_mb: int = setting(460, "memory the trainer may take, in MB", least=1, most=2**24)
    products: str = setting(
        "auto", "arithmetic of training's frozen products; auto = int8 where the processor has instructions for it",
        ("auto", "float32", "int8"),
    )
    # gate
    held_out_share: float = setting(
        0.2, "share of answered sets kept out of training for the gate; at least one is", least=0, most=0.5
    )
    probe_tolerance: float = setting(0.01, "relative rise of the general loss that is still accepted", least=0, most=99)
    engine_tolerance: float = setting(
        0.01, "difference allowed between both engines, of the loss or of 1 nat", least=0, most=99,
    )
    keep_adapters: int = setting(3, "good adapter versions kept for a rollback", least=1, most=1000)
    # windows
    state_source: str = setting("auto", "who tells the device's state", ("auto", "termux", "sysfs", "host"))
    window_needs: str = setting(
        "plugged,percentage,temperature_c,free_memory_mb,free_disk_mb", "what must be known before it learns",
    )
    window_from: int = setting(22, "hour from which it may learn; equal hours = any time", least=0, most=23)
    window_until: int = setting(8, "hour until which it may learn", least=0, most=23)
    window_percentage: float = setting(40.0, "battery charge it needs, in percent", least=0, most=100)
    window_temperature: float = setting(38.0, "warmest battery it learns at, in degrees C", least=-30, most=60)
    window_thermal_status: int = setting(3, "thermal status from which it does not learn (3 = severe)", least=1, most=7)
    window_reserve_mb: int = setting(200, "memory it leaves free beside the trainer's, in MB", least=0, most=2**24)
    window_disk_mb: int = setting(200, "storage that must be free, in MB", least=0, most=2**24)
    slice_minutes: float = setting(8.0, "longest stretch of learning, in minutes", least=1, most=8)
    slice_rest_minutes: float = setting(2.0, "rest between two stretches, in minutes", least=0, most=1e6)
    slices_a_day: int = setting(12, "stretches of learning in 24 hours", least=0, most=1e6)
    poll_seconds: float = setting(5.0, "seconds between two looks at the device while it learns", least=0.1, most=60)
    new_answers: int = setting(5, "new answers that make learning worth while", least=1, most=100_000)

    # privacy
    key_file: str = setting("", "file with the key of an encrypted home (mode 0600); empty = none")

    def __post_init__(self):
        for spec in fields(self):
            self._check(spec, getattr(self, spec.name))

    def _check(self, spec, value) -> None:
        meta, name = spec.metadata, spec.name
        number_for_bool = isinstance(value, bool) != (spec.type is bool)
        if not isinstance(value, (int, float) if spec.type is float else spec.type) or number_for_bool:
            raise UsageError(f"setting {name} takes {spec.type.__name__}, not {value!r}")
        if meta["choices"] and value not in meta["choices"]:
            raise UsageError(f"setting {name} is {value!r}; choose from {', '.join(meta['choices'])}")
        if meta["least"] is not None and not value >= meta["least"]:
            raise UsageError(f"setting {name} is {value}; it must be at least {meta['least']}")
        if meta["most"] is not None and not value <= meta["most"]:
            raise UsageError(f"setting {name} is {value}; it must be at most {meta['most']}")

    def record_json(self) -> str:
        """The settings an adapter's record keeps: none that hold the user's own words or paths."""
        return json.dumps({name: value for name, value in asdict(self).items() if name not in PERSONAL}, indent=1)


def parse_setting(name: str, text: str):
    """A setting's value from text, e.g. of `--set NAME=VALUE`."""
    spec = next((spec for spec in fields(Settings) if spec.name == name), None)
    if spec is None:
        raise UsageError(f"no setting {name!r}; known: {', '.join(spec.name for spec in fields(Settings))}")
    try:
        return {"true": True, "false": False}[text.lower()] if spec.type is bool else spec.type(text)
    except (ValueError, KeyError):
        raise UsageError(f"setting {name} takes {spec.type.__name__}, not {text!r}") from None


def cores() -> int:
    """Cores this process may use; what `threads = 0` means."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_settings(path: Path) -> dict:
    """The settings kept in a JSON file ({} where there is none); damaged or unknown ones are refused."""
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(values, dict)
    except (ValueError, AssertionError, RecursionError):
        raise DamagedDataError(f"{path} is not a JSON object of settings; mend or remove it") from None
    known = {spec.name for spec in fields(Settings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise UsageError(f"{path} has the unknown setting {unknown[0]!r}; known: {', '.join(sorted(known))}")
    return values


def save_settings(path: Path, changes: dict) -> None:
    """Put changes into a JSON file of settings, whole or not at all; for its owner only."""
    values, partial = {**load_settings(path), **changes}, path.with_suffix(".part")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror}); free some storage, or name another home") from None
