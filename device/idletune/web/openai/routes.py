"""The paths under /v1."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..answers import Json, Refused
from ..doors import Door
from ..limits import UnderWay, read_object
from . import answers
from .checks import wrong
from .completions import CHAT, TEXT, Completions
from .embeddings import Embeddings

RATINGS = ("up", "down", "never_ask")


class OpenAi:
    """Completions of chats and texts, embeddings, models, and feedback, which is our own."""

    def __init__(self, door: Door, under_way: UnderWay):
        self._door, self._under_way = door, under_way
        self._chat, self._text = (Completions(door, under_way, kind) for kind in (CHAT, TEXT))
        self._embeddings = Embeddings(door, under_way)

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.text, methods=["POST"]),
            Route("/v1/embeddings", self.embeddings, methods=["POST"]),
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/models/{id}", self.model, methods=["GET"]),
            Route("/v1/feedback", self.feedback, methods=["POST"]),
        ]

    async def chat(self, request: Request) -> Response:
        return await self._chat(request)

    async def text(self, request: Request) -> Response:
        return await self._text(request)

    async def embeddings(self, request: Request) -> Response:
        return await self._embeddings(request)

    async def models(self, request: Request) -> Response:
        return Json({"object": "list", "data": [answers.model(self._door.model_id())]})

    async def model(self, request: Request) -> Response:
        if request.path_params["id"] != self._door.model_id():
            raise Refused(404, "model_not_found", "no such model; GET /v1/models names the one there is")
        return Json(answers.model(self._door.model_id()))

    async def feedback(self, request: Request) -> Response:
        """{"completion_id", and one of "rating": up, down or never_ask; "text": a better answer; "better_than": the id
        of another completion of the same question}."""
        params = feedback_params(await read_object(request))
        with self._under_way.one_more():
            result = await self._door.call(self._door.owner(request), "feedback", params)
        return Json({"completion_id": params["completion"], **result})


def feedback_params(asked: dict) -> dict:
    """The method's parameters. Refused unless one thing is said of one completion."""
    id = asked.get("completion_id")
    said = {name: asked[name] for name in ("rating", "text", "better_than") if asked.get(name) is not None}
    if not isinstance(id, str):
        raise wrong("completion_id", "is to be the id of a completion")
    if len(said) != 1:
        told = f"is to be one of {', '.join(RATINGS)}; or text a better answer; or better_than another completion's id"
        raise wrong("rating", f"{told}; one of the three")
    if "text" in said:
        return {"completion": id, "verdict": "better", "text": said["text"]}
    if "better_than" in said:
        return {"completion": id, "verdict": "preferred", "over": said["better_than"]}
    if said["rating"] not in RATINGS:
        raise wrong("rating", f"is to be one of {', '.join(RATINGS)}")
    return {"completion": id, "verdict": said["rating"]}
