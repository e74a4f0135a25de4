"""The replies that a simulated user picks from: two of the base model's to each question, all at once."""

import json
from pathlib import Path

from many_adapters.model import FrozenModel
from many_adapters.sampling import sample
from selection.streams import REPLY_TOKENS

from .examples_file import ExamplesFile
from .streams import TAPS


def write_replies(model: FrozenModel, file: ExamplesFile, path: Path) -> None:
    """By stream, the tokens of two replies to each prompt, sampled as the product samples."""
    prompts = {stream: file[f"{stream}|prompts"] for stream in TAPS}
    flat = [example.tokens.tolist() for some in prompts.values() for example in some for _ in range(2)]
    found = iter(sample(model, flat, REPLY_TOKENS, temperature=0.7, top_p=0.9, ends=file.facts["ends"], seed=0))
    pairs = {stream: [[next(found), next(found)] for _ in some] for stream, some in prompts.items()}
    path.write_text(json.dumps(pairs))
