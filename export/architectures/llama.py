"""llama (SmolLM2, Llama, Mistral ...): GGUF permutes the rows of Q and K so that rotary pairs are neighbours."""

from .block import Block


class Llama(Block):
    rotary = "neighbours"
