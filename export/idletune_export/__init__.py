"""Build tooling: makes and verifies the artifacts a phone runs. Needs PyTorch; never runs on the phone."""

import idletune  # noqa: F401  it switches ONNX Runtime's telemetry off, before optimum or we import it
