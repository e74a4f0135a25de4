"""IdleTune's runtime: a small LLM that learns from its one user, on the user's own device."""

from .telemetry import switch_off

__version__ = "0.2.0"

switch_off()  # before any module of this package can load ONNX Runtime
