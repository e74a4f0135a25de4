"""The registry of model families: one entry for each GGUF architecture that can be trained."""

from ..sublayers import Kind
from .family import Family
from .gemma import GEMMA2, GEMMA3
from .gemma4 import GEMMA4
from .granite import GRANITE, MINICPM
from .lfm2 import LFM2
from .llama import ERNIE4_5, EXAONE, LLAMA, MISTRAL3, PHI3, SMOLLM3
from .norms_after import EXAONE4, HUNYUAN, OLMO2
from .qwen import QWEN2, QWEN3
from .qwen35 import QWEN35

FAMILIES: dict[str, Family] = {
    family.architecture: family
    for family in (
        LLAMA,
        QWEN2,
        QWEN3,
        GEMMA3,
        SMOLLM3,
        PHI3,
        MISTRAL3,
        ERNIE4_5,
        EXAONE,
        GRANITE,
        MINICPM,
        OLMO2,
        EXAONE4,
        HUNYUAN,
        GEMMA2,
        LFM2,
        GEMMA4,
        QWEN35,
    )
}


def used_kinds() -> list[Kind]:
    """The kinds of sublayers that have training graphs, each once."""
    return list(dict.fromkeys(kind for family in FAMILIES.values() for kind in family.kinds))


__all__ = ["FAMILIES", "Family", "used_kinds"]
