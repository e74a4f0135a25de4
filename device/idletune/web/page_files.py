"""The page's files, which ship with the package; they hold nothing of the user's."""

import gzip
import mimetypes
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .answers import Refused

INDEX = "index.html"
TYPES = {".js": "text/javascript", ".webmanifest": "application/manifest+json", ".html": "text/html"}


@dataclass(frozen=True)
class PageFile:
    """A file as it is sent: whole and compressed."""

    data: bytes
    compressed: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, name: str, data: bytes) -> "PageFile":
        suffix = name[name.rfind(".") :]
        kind = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return cls(data, gzip.compress(data, 9, mtime=0), kind, f'"{sha256(data).hexdigest()[:32]}"')


class PageFiles:
    """GET / and the files below it, read once."""

    def __init__(self, folder: Traversable | None = None):
        folder = folder or files("idletune.web") / "page"
        self._files = {name: PageFile.of(name, data) for name, data in _read(folder)}

    @property
    def routes(self) -> list[Route]:
        return [Route("/", self.file, methods=["GET"]), Route("/{name:path}", self.file, methods=["GET"])]

    async def file(self, request: Request) -> Response:
        name = request.path_params.get("name", INDEX)
        found = self._files.get(name)
        if found is None:
            raise Refused(404, "not_found", "there is nothing at this address")
        headers = {"etag": found.etag, "cache-control": "no-cache", "vary": "accept-encoding"}
        if request.headers.get("if-none-match") == found.etag:
            return Response(status_code=304, headers=headers)
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(found.data, headers=headers, media_type=found.media_type)
        headers["content-encoding"] = "gzip"
        return Response(found.compressed, headers=headers, media_type=found.media_type)


def _read(folder: Traversable, before: str = "") -> list[tuple[str, bytes]]:
    """The files of a folder and of those in it, with their names from the folder on."""
    if not folder.is_dir():
        return []
    found = []
    for entry in folder.iterdir():
        name = before + entry.name
        found += _read(entry, f"{name}/") if entry.is_dir() else [(name, entry.read_bytes())]
    return found
