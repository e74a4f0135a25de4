"""Build tooling: makes and verifies the artifacts a phone runs. Needs PyTorch; never runs on the phone."""
