"""The loop as one object: chat, observe, ask, learn, answer better.

Everything above (commands, RPC, a host app) uses `Runtime` alone; everything below knows nothing of it.
"""

from .home import default_home
from .runtime import Runtime

__all__ = ["Runtime", "default_home"]
