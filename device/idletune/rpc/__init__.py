"""One JSON-RPC 2.0 dispatcher over the runtime: for the C library, the Android bridge and the Unix socket."""

from .dispatcher import Dispatcher

__all__ = ["Dispatcher"]
