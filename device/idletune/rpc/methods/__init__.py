"""The methods, a file for each noun. Each is declared beside its function: parameters, result, description."""

# Importing declares the methods; the reference page lists them in this order.
from . import runtime, model, chat, completions, embeddings, compare, prompts, sets  # isort: skip  # noqa: F401
from . import imports, exports, learning, fleet, settings, privacy, discovery  # isort: skip  # noqa: F401
from .declaration import API_VERSION, METHODS, Call
from .discovery import document

__all__ = ["API_VERSION", "METHODS", "Call", "document"]
