"""The method that describes all methods, and the description."""

from ..errors import ERRORS
from ..events import EVENTS
from ..schema import Method, array, object_, text
from .declaration import API_VERSION, METHODS, Call, method


@method(
    "rpc.discover",
    result=(
        text("openrpc", "the version of the description's form"),
        object_("info", "title and version"),
        array("methods", "name, summary, params and result of each, with JSON Schema"),
        array("x-events", "name, summary and params of each event"),
        array("x-errors", "code, kind and meaning of each"),
    ),
)
def discover(call: Call) -> dict:
    """What can be called, as an OpenRPC document."""
    return document()


def document() -> dict:
    """The OpenRPC description (spec.open-rpc.org, 1.3.2) of all methods."""
    return {
        "openrpc": "1.3.2",
        "info": {"title": "IdleTune", "version": str(API_VERSION)},
        "methods": [_openrpc(found) for found in METHODS.values()],
        "x-events": [{"name": name, "summary": help, "params": params} for name, (help, params) in EVENTS.items()],
        "x-errors": [{"code": code, "kind": kind, "meaning": help} for code, (kind, help) in ERRORS.items()],
    }


def _openrpc(found: Method) -> dict:
    return {
        "name": found.name,
        "summary": found.help,
        "paramStructure": "by-name",
        "params": [{"name": p.name, "required": p.required, "schema": p.to_schema()} for p in found.params],
        "result": {
            "name": "result",
            "schema": {
                "type": "object",
                "properties": {field.name: field.to_schema() for field in found.result},
                "required": [field.name for field in found.result if field.required],
            },
        },
    }
