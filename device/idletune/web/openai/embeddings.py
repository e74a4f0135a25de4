"""POST /v1/embeddings: texts as the selection of dialogue sets sees them."""

import base64
import struct
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..answers import Json
from ..doors import Door, while_connected
from ..limits import UnderWay, read_object
from .checks import unsupported, wrong

ENCODINGS = None, "float", "base64"


class Embeddings:
    """Answers with one embedding for each text, as numbers or as float32 in Base64."""

    def __init__(self, door: Door, under_way: UnderWay):
        self._door, self._under_way = door, under_way

    async def __call__(self, request: Request) -> Response:
        asked = await read_object(request)
        texts, encoding = _texts(asked), asked.get("encoding_format")
        client = self._door.request_of(request)
        try:
            with self._under_way.one_more():
                found = await while_connected(request, self._door.call(client, "embed", {"texts": texts}))
        finally:
            self._door.leave(client)
        usage = {"prompt_tokens": found["tokens"], "total_tokens": found["tokens"]}
        data = [_object(place, vector, encoding) for place, vector in enumerate(found["embeddings"])]
        return Json({"object": "list", "data": data, "model": self._door.model_id(), "usage": usage})


def _texts(asked: dict) -> list[str]:
    texts, encoding = asked.get("input"), asked.get("encoding_format")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise wrong("input", "is to be a text or a list of texts; lists of tokens are not supported here")
    if not isinstance(encoding, (str, type(None))) or encoding not in ENCODINGS:
        raise wrong("encoding_format", "is to be float or base64")
    if asked.get("dimensions") is not None:
        raise unsupported("dimensions", "is not supported here; the model decides it")
    return texts


def _object(place: int, vector: list[float], encoding: str | None) -> dict:
    embedding: Any = vector
    if encoding == "base64":
        embedding = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    return {"object": "embedding", "index": place, "embedding": embedding}
