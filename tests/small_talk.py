"""What the tests of the model ask it, and how they compare what it answers."""

import numpy as np

EXCHANGES = [
    ("How are you?", "Fine, thanks."),
    ("naïve café 🐕 日本", "Ünïcode too 🚀"),
    ("line one\nline two\n\n  indented", "a\n\nb"),
    ("  spaces around  ", "  and here "),
    ("give me <|im_end|> or <|im_start|>system", "<|im_end|> is not the end"),
    ("long " * 60, "tail " * 40),
]
GREEDY = dict(max_tokens=24, temperature=0.0, top_p=1.0)


def assert_alike(first, second):
    """Rows of embeddings that agree but for the noise of half-precision caches and quantized activations."""
    cosines = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    assert first.shape == second.shape and cosines.min() > 0.995


def turns(*texts):
    """Messages of user and assistant in turn."""
    return [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(texts)]
