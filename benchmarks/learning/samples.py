"""Second replies and embeddings of questions, from the base model with many rows at once."""

import json
from pathlib import Path

import numpy as np
from idletune.selection.scores import text_embedding
from idletune.settings import Settings
from many_adapters.batches import States
from many_adapters.model import FrozenModel
from many_adapters.sampling import sample
from selection.streams import REPLY_TOKENS

from .examples_file import ExamplesFile, start_of
from .streams import KEPT, TAPS


def write_samples(model: FrozenModel, file: ExamplesFile, path: Path) -> None:
    """Two replies to each prompt, and the embedding of each question (see prepare.Sampled)."""
    np.savez(path, replies=json.dumps(replies(model, file)), embeddings=embeddings(model, file))


def write_paraphrases(model: FrozenModel, file: ExamplesFile, path: Path) -> None:
    """A reply to each prompt of the synthesizer, in as many tokens as it gives it: tokens by stream."""
    prompts = {stream: file[f"{stream}|paraphrase prompts"] for stream in file.facts["rooms"]}
    rooms = [room for stream in prompts for room in file.facts["rooms"][stream]]
    flat = [example.tokens.tolist() for some in prompts.values() for example in some]
    temperature = Settings().paraphrase_temperature
    found = sample(model, flat, max(rooms), temperature=temperature, top_p=0.95, ends=file.facts["ends"], seed=0)
    cut = iter([reply[:room] for reply, room in zip(found, rooms)])
    path.write_text(json.dumps({stream: [next(cut) for _ in some] for stream, some in prompts.items()}))


def replies(model: FrozenModel, file: ExamplesFile) -> dict[str, list[list[list[int]]]]:
    """Tokens of two replies to each of a stream's prompts, as the product samples them."""
    prompts = {stream: file[f"{stream}|prompts"] for stream in TAPS}
    flat = [example.tokens.tolist() for some in prompts.values() for example in some for _ in range(2)]
    found = iter(sample(model, flat, REPLY_TOKENS, temperature=0.7, top_p=0.9, ends=file.facts["ends"], seed=0))
    return {stream: [[next(found), next(found)] for _ in some] for stream, some in prompts.items()}


def embeddings(model: FrozenModel, file: ExamplesFile) -> np.ndarray:
    """Of all streams' questions one after the other: the mean over a question's tokens, float32 (questions, hidden)."""
    questions = [example for stream in KEPT for example in file[f"{stream}|questions"]]
    states = States(model, len(model.steps))
    starts = states.add(questions)
    found = []
    for example, start in zip(questions, starts):
        asked = states.values[start + start_of(example) - 1 : start + len(example.tokens)]
        found.append(text_embedding(model.last_norm(asked).cpu().numpy()))
    return np.stack(found)
