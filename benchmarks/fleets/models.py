"""The base model: what encodes the conversations, and the product's trainers."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from idletune.learning.adapters import Adapters
from idletune.learning.adoption import probe_examples
from idletune.learning.trainers import Trainers
from idletune.model.base_model import BaseModel
from idletune.settings import Settings
from idletune.state.store import Store

from .phones import Phones, encode_phone, read_phones


@contextmanager
def opened_trainers(model: Path, settings: Settings) -> Iterator[Trainers]:
    """The product's trainers of a base model, in a home of their own."""
    with tempfile.TemporaryDirectory() as home, Store(Path(home)) as store:
        with BaseModel(model, context_tokens=1024, sequences=1, threads=settings.threads) as base:
            yield Trainers(Adapters(store, base.sha256), base, settings)


def encoded_phones(model: Path, data: Path, datasets: tuple[str, ...]) -> Phones:
    """The conversations as a model reads them."""
    with BaseModel(model, context_tokens=1024, sequences=1, threads=1) as base:
        return Phones(
            {
                name: [encode_phone(each, base.encode_exchange) for each in read_phones(data / f"{name}.jsonl")]
                for name in datasets
            },
            probe_examples(base),
        )
