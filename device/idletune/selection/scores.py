"""Score a dialogue set without labels: how much it says, how much of a known domain, how much of it is new.

The three scores of Qin et al., DAC 2024 (arXiv 2311.12275), section 3; in all of them higher is better:
- EOE, entropy of embedding = -sum_i p(e_i) log p(e_i) / log n;
- DSS, domain specific score = (1/m) sum_i |T n l_i| / n over m lexicons l_i;
- IDD, in-domain dissimilarity = (1/R) sum_r (1 - cos(E, E_r)) over the R sets of the same domain.

Everything is plain numpy and dictionaries, because it runs after each exchange on a phone.
"""

from collections.abc import Sequence

import numpy as np

from ..errors import UsageError
from .lexicons import OTHER, Lexicons

READINGS = ("token", "histogram")
HISTOGRAM_BINS = 100


def text_embedding(token_embeddings: np.ndarray) -> np.ndarray:
    """The text's embedding: the mean of its tokens' (n_tokens, hidden), unit length, float32 (hidden,).

    Tokens that cancel out exactly leave the zero vector, never NaN.
    """
    tokens = _checked(token_embeddings)
    mean = tokens.mean(axis=0, dtype=np.float64)
    norm = np.linalg.norm(mean)
    return (mean / norm if norm > 0 else mean).astype(np.float32)


def entropy_of_embedding(token_embeddings: np.ndarray, reading: str = "token") -> float:
    """EOE of a text from its last-layer token embeddings, shape (n_tokens, hidden), n_tokens >= 1.

    The paper leaves p(e_i) open. `token`: each token's share of the summed L2 norms, so the score lies in
    [0, 1]. `histogram` (the authors' released code): the last token's values in 100 bins, in bits, over
    log2(n + 1); it favours short texts and can exceed 1. Raises UsageError for any other reading.
    """
    tokens = _checked(token_embeddings)
    if reading == "token":
        return _token_entropy(tokens)
    if reading == "histogram":
        return _histogram_entropy(tokens)
    raise UsageError(f"unknown reading of the entropy of embedding {reading!r}; use {' or '.join(READINGS)}")


def _checked(token_embeddings: np.ndarray) -> np.ndarray:
    tokens = np.asarray(token_embeddings, dtype=np.float32)
    assert tokens.ndim == 2 and tokens.size, f"(n_tokens, hidden) is expected, not {tokens.shape}"
    return tokens


def _token_entropy(tokens: np.ndarray) -> float:
    if len(tokens) == 1:
        return 0.0  # log n is 0, and one token leaves no uncertainty
    norms = np.sqrt(np.einsum("ij,ij->i", tokens, tokens))
    entropy = _entropy(norms)
    return min(1.0, float(entropy / np.log(len(tokens))))  # rounding may reach 1 + 1e-16


def _histogram_entropy(tokens: np.ndarray) -> float:
    counts, _ = np.histogram(tokens[-1], bins=HISTOGRAM_BINS)
    return float(_entropy(counts) / np.log(2) / np.log2(len(tokens) + 1))


def _entropy(weights: np.ndarray) -> float:
    """Entropy in nats of non-negative weights taken as shares; 0 log 0 = 0."""
    weights = weights[weights > 0].astype(np.float64)
    if not len(weights):
        return 0.0
    shares = weights / weights.sum()
    return max(0.0, float(-(shares * np.log(shares)).sum()))


def domain_specific_score(words: Sequence[str], lexicons: Lexicons) -> float:
    """DSS in [0, 1]: the mean over all lexicons of the share of words (with repetition) it holds.

    `words` come from Lexicons.words(), that is lower-cased; no words or no lexicons score 0.
    """
    if not words or not len(lexicons):
        return 0.0
    return sum(lexicons.overlaps(words).values()) / (len(lexicons) * len(words))


def dominant_domain(words: Sequence[str], lexicons: Lexicons) -> str:
    """The domain holding most of the words; OTHER when none holds any, ties go to the first name sorted."""
    overlaps = lexicons.overlaps(words)
    return min(overlaps, key=lambda domain: (-overlaps[domain], domain), default=OTHER)


def in_domain_dissimilarity(embedding: np.ndarray, same_domain_embeddings: np.ndarray) -> float:
    """IDD in [0, 2]: the mean of 1 - cos between (hidden,) and each row of (R, hidden), all unit length.

    1.0 when the buffer holds no set of the domain. It goes stale as the buffer changes: compare stored
    sets by in_domain_dissimilarities(), not by the value they arrived with.
    """
    rows = np.asarray(same_domain_embeddings)
    if not len(rows):
        return 1.0
    return float(1.0 - (rows @ np.asarray(embedding)).mean(dtype=np.float64))


def in_domain_dissimilarities(embeddings: np.ndarray, domains: Sequence[str]) -> np.ndarray:
    """IDD of every stored set against the other stored sets of its domain, as the buffer is now.

    `embeddings` (n, hidden) are unit rows; returns float64 (n,). A set alone in its domain has 1.0.
    """
    rows = np.asarray(embeddings)
    names, domain = np.unique(np.asarray(domains, dtype=str), return_inverse=True)
    members = np.arange(len(names))[:, None] == domain
    others = members.sum(axis=1)[domain] - 1
    sums = (members.astype(rows.dtype) @ rows)[domain]
    cosines = np.einsum("ij,ij->i", rows, sums - rows)  # summed over the others: not with itself
    return np.where(others > 0, 1.0 - cosines / np.maximum(others, 1), 1.0)
