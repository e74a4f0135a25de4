"""File formats: GGUF files and their checks, the sizes of a model that they describe."""
