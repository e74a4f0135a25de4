"""Every setting of the runtime, once: name, default and help. The command line and the docs read this."""

import json
import logging
import os
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from .errors import UsageError
from .small_files import half_character, read_json_object, write_whole

log = logging.getLogger("idletune")

MOST_THREADS, MOST_TOKENS = 256, 131_072  # beyond any device: what crosses a bridge may be absurd
LEAST_FOUND_MB = 200  # of memory, below which no window opens where the budget is found
PERSONAL = ("system", "lexicons", "key_file")
SAME_UNDER_ANOTHER_NAME = {  # renamed in 0.2.0; the earlier names are accepted in this version
    "bins": "buffer_capacity",
    "products": "matmul_dtype",
    "accumulate": "gradient_accumulation_steps",
    "least_steps": "min_steps",
    "clip_norm": "max_grad_norm",
    "learn_questions": "train_on_questions",
    "row_tokens": "sequence_tokens",
}


def _renamed(name: str, value: Any) -> tuple[str, Any] | None:
    """Name and value today of a setting of an earlier version; None where it says nothing today."""
    if name == "top_layers" and value == 0:
        return "top_share", 1.0
    return (SAME_UNDER_ANOTHER_NAME[name], value) if name in SAME_UNDER_ANOTHER_NAME else None


def setting(default, help: str, choices: tuple = (), least=None, most=None):
    return field(default=default, metadata={"help": help, "choices": choices, "least": least, "most": most})


@dataclass(frozen=True)
class Settings:
    """Frozen; `replace` from dataclasses makes a changed copy, and values are checked when one is made."""

    # base model
    threads: int = setting(
        0,
        "threads of both engines; 0 = all cores, in chat fewer beside busy programs; 1 = training repeats bit for bit",
        least=0,
        most=MOST_THREADS,
    )
    context_tokens: int = setting(1024, "tokens a conversation may hold", least=128, most=MOST_TOKENS)
    seed: int = setting(0, "seed of everything random", least=0, most=2**32 - 1)
    # chat
    system: str = setting("", "system message; empty = the model's own default")
    temperature: float = setting(0.7, "sampling temperature of answers; 0 = greedy", least=0, most=2)
    top_p: float = setting(0.9, "nucleus of sampling", least=0, most=1)
    reply_tokens: int = setting(256, "longest answer in tokens", least=1, most=MOST_TOKENS)
    thinking: bool = setting(False, "let a model that can think do so before it answers; its thoughts are not kept")
    retrieve: int = setting(
        3, "answered sets that fit a message best are shown to the model before it; 0 = none", least=0, most=16
    )
    retrieve_tokens: int = setting(200, "tokens up to which further ones are shown as well", least=0, most=MOST_TOKENS)
    retrieve_by: str = setting(
        "words",
        "what finds them: words, embeddings, or both ranks fused; the first token waits for an embedding",
        ("words", "embeddings", "fused"),
    )
    recall: bool = setting(
        True, "show what you once told the model as well, where it fits a message better than every answer"
    )
    # selection
    policy: str = setting("recent_diverse", "which dialogue sets the buffer keeps")  # checked where the runtime is made
    eoe_reading: str = setting("token", "reading of the entropy of embedding", ("token", "histogram"))
    buffer_capacity: int = setting(128, "dialogue sets the buffer holds", least=1, most=100_000)
    bin_bytes: int = setting(22 * 1024, "bytes a dialogue set may take, text and embedding", least=1024, most=2**24)
    observe_hour: int = setting(
        60, "exchanges an hour that each program may give to observe; chats are not counted", least=0, most=1_000_000
    )
    observe_share: float = setting(
        0.5, "share of the buffer that the exchanges of one program's observe may take", least=0, most=1
    )
    import_share: float = setting(0.75, "share of the buffer that imported exchanges may take", least=0, most=1)
    import_limit: int = setting(
        2000,
        "exchanges of an imported file that the model reads, spread evenly over it; the buffer keeps some of them",
        least=1,
        most=1_000_000,
    )
    lexicons: str = setting("", "folder of domain word lists (NAME.txt); empty = the built-in ones")
    # annotation
    daily_limit: int = setting(5, "questions to the user a day", least=0, most=1000)
    quiet_from: int = setting(22, "hour from which the user is not asked", least=0, most=23)
    quiet_until: int = setting(8, "hour until which the user is not asked", least=0, most=23)
    ask_choices: float = setting(
        0.0,
        "share of the questions that offer a second reply beside the first, to tap the better one; it is written in the"
        " idle window; 0 = none, 1 = all",
        least=0,
        most=1,
    )
    speech: bool = setting(
        False,
        "in Termux, let /speak in chat and /better take what you say; off, as some phones send speech to a server",
    )
    # synthesis
    paraphrases: int = setting(
        0,
        "paraphrases asked for per answered set; none as it comes: they paid on no model that was measured",
        least=0,
        most=100,
    )
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
    train_on_questions: bool = setting(True, "train on the wording of the user's questions as well as on the answers")
    few_shot_share: float = setting(
        0.0,
        "share of the answers that train behind the other answers that retrieval shows for them; what does not fit"
        " example_tokens is left out, so raise them and sequence_tokens with it; 0 = none",
        least=0,
        most=1,
    )
    choice_weight: float = setting(
        0.0,
        "weight of an answer in the model's own words, a reply that you found good or chose of two, beside one that you"
        " gave; 0 = it is kept and shown, nothing is trained on it",
        least=0,
        most=1,
    )
    preference: float = setting(
        0.0,
        "weight of the odds-ratio term (ORPO) by which a chosen reply becomes likelier than the one beside it, times"
        " choice_weight; 0 = off",
        least=0,
        most=10,
    )
    dropout: float = setting(0.0, "probability that a row trains without an input of the adapter", least=0, most=0.9)
    gradient_accumulation_steps: int = setting(
        1, "packed sequences whose gradients make one step", least=1, most=10_000
    )
    warm_start: bool = setting(False, "train on from the adapter that serves, not from the base")
    epochs: int = setting(3, "passes over the answered sets, and their paraphrases", least=1, most=10_000)
    min_steps: int = setting(24, "least optimizer steps; few or short answers get more epochs", least=0, most=10_000)
    learning_rate: float = setting(
        8e-4, "peak learning rate of AdamW; Gemma 3 trains at a quarter of it", least=0, most=10
    )
    weight_decay: float = setting(0.0, "decoupled weight decay", least=0, most=10)
    max_grad_norm: float = setting(1.0, "gradient norm above which the gradient is clipped", least=0, most=1e6)
    sequence_tokens: int = setting(256, "tokens of a packed training sequence", least=16, most=MOST_TOKENS)
    example_tokens: int = setting(256, "tokens of one dialogue set; longer ones are cut", least=16, most=MOST_TOKENS)
    memory_mb: int = setting(
        0,
        "memory the trainer may take, in MB, beside mapped files; 0 = found from what the device has free",
        least=0,
        most=2**24,
    )
    int8_files: bool = setting(
        True,
        "keep int8 weights of the base model in files in the home, twice its size or less, and map them; without them,"
        " int8 takes memory",
    )
    matmul_dtype: str = setting(
        "auto",
        "matrix products with frozen weights in training; auto = int8 where the processor has instructions for it",
        ("auto", "float32", "int8"),
    )
    # gate
    held_out_share: float = setting(
        0.2,
        "share of the answers you gave that the gate keeps out of training; at least one is, and a chosen one where you"
        " gave none",
        least=0,
        most=0.5,
    )
    probe_tolerance: float = setting(0.01, "relative rise of the general loss that is still accepted", least=0, most=99)
    engine_tolerance: float = setting(
        0.01,
        "difference allowed between both engines, of the loss or of 1 nat",
        least=0,
        most=99,
    )
    suspicious_fall: float = setting(
        0.8,
        "fall of the held-out loss from which an adapter waits until you promote it; 1 = never",
        least=0.01,
        most=1,
    )
    keep_adapters: int = setting(3, "good adapter versions kept for a rollback", least=1, most=1000)
    # windows
    state_source: str = setting("auto", "who tells the device's state", ("auto", "termux", "sysfs", "host"))
    window_needs: str = setting(
        "plugged,percentage,temperature_c,free_memory_mb,free_disk_mb",
        "what must be known before it learns",
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
        if isinstance(value, str) and (half_character(value) is not None or "\0" in value):
            raise UsageError(f"setting {name} holds half a character or a NUL; write whole Unicode text")
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
    """A setting's value from text, e.g. of `--set NAME=VALUE`; an earlier name (see `present_name`) is accepted."""
    spec = next((spec for spec in fields(Settings) if spec.name == present_name(name)), None)
    if spec is None:
        raise UsageError(f"no setting {name!r}; known: {', '.join(spec.name for spec in fields(Settings))}")
    kind: type[Any] = type(spec.default)
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise UsageError(f"setting {name} takes {kind.__name__}, not {text!r}") from None


def present_name(name: str) -> str:
    """What a setting that was only renamed is called today; the notice says so once."""
    if name not in SAME_UNDER_ANOTHER_NAME:
        return name
    present = SAME_UNDER_ANOTHER_NAME[name]
    tell_renamed(name, present)
    return present


def with_present_names(values: dict) -> dict:
    """Settings that a caller names, renamed ones under their present names; both names together are refused."""
    present = {present_name(name): value for name, value in values.items()}
    if len(present) < len(values):
        raise UsageError("a setting is given under its earlier and its present name; give the present one alone")
    return present


def cores() -> int:
    """Cores this process may use; what `threads = 0` means."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_settings(path: Path) -> dict:
    """The settings kept in a JSON file ({} where there is none), under their present names; a damaged one is refused.

    What this version does not know (an earlier or a later one wrote it) is warned of and left out.
    """
    values, known = _kept(path), {spec.name for spec in fields(Settings)}
    for name in sorted(set(values) - known):
        _warn(str(path), name[:40])
    return {name: value for name, value in values.items() if name in known}


@cache
def tell_renamed(name: str, present: str) -> None:
    log.warning("setting %s is called %s since version 0.2.0; the earlier name goes in the next one", name, present)


@cache
def _warn(path: str, name: str) -> None:
    """Once in a process: the file is read by several parts."""
    log.warning("%s: setting %r is not known to this version and has no effect", path, name)


def save_settings(path: Path, changes: dict) -> None:
    """Put changes into a JSON file of settings, whole or not at all; for its owner only. Unknown ones in it stay."""
    values = {**_kept(path), **changes}
    try:
        write_whole(path, json.dumps(values, indent=1).encode())
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error.strerror}); free some storage, or name another home") from None


def _kept(path: Path) -> dict:
    """What a file of settings holds, renamed ones under their present names."""
    if not path.is_file():
        return {}
    values = read_json_object(path, "a JSON object of settings", "mend or remove it")
    for name in list(values):
        if renamed := _renamed(name, values[name]):
            del values[name]
            values.setdefault(*renamed)
    return values
