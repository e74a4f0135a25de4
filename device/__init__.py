"""IdleTune's runtime: a small LLM that learns from its one user, on the user's own device."""

__version__ = "0.1.0"
