"""The base model: two engines that answer, the GGUF file they share, tokens and templates."""
