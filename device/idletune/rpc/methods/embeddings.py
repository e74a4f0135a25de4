"""The method that embeds texts."""

from ..errors import INVALID_PARAMS, RpcError
from ..schema import array, integer
from .adapter_changes import adapter_changes_announced
from .completions import check_text
from .declaration import Call, method

MOST_TEXTS, LONGEST_EMBEDDED = 64, 16 * 1024


@method(
    "embed",
    (array("texts", f"1 to {MOST_TEXTS} texts"),),
    (
        array("embeddings", "of each text a list of numbers, of unit length"),
        integer("tokens", "tokens of all texts"),
    ),
)
def embed(call: Call, texts: list) -> dict:
    """Embed texts as questions of the user are embedded: the mean of the model's last layer, adapter included.

    Nothing of it is kept. What exceeds the context is left out.
    """
    if not 0 < len(texts) <= MOST_TEXTS:
        raise RpcError(INVALID_PARAMS, f"parameter texts takes 1 to {MOST_TEXTS} texts, not {len(texts)}")
    for place, text in enumerate(texts):
        check_text(f"texts[{place}]", text, LONGEST_EMBEDDED)
        if not text.strip():
            raise RpcError(INVALID_PARAMS, f"texts[{place}] is empty")
    with call.shared.model(call.client) as runtime, adapter_changes_announced(call, runtime):
        found = call.shared.compute(lambda: [runtime.embed(text) for text in texts])
        tokens = sum(len(runtime.model.tokenize(text)) for text in texts)
    return {"embeddings": [vector.tolist() for vector in found], "tokens": tokens}
