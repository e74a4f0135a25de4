"""The metadata and tensor names of one GGUF model, as a model family reads them.

What is read is remembered: a key that changes what llama.cpp computes and that no family has read is refused by name
(`refuse_unread`), since training would then train another model than is served. A key that llama.cpp does not read for
the architecture (loader_keys.py) has no value here either.
"""

from collections.abc import Mapping, Set
from typing import Any, NoReturn

from ..errors import DamagedDataError, UsageError
from .loader_keys import DEFAULTS, EQUAL_TO, SIZES, guarded_keys


class Metadata:
    """Values by their key behind the architecture's name: `["block_count"]` is llama.block_count of a llama.

    `tensors` are the names of the file's tensors, `name` its own, for errors; `context` how many tokens llama.cpp's KV
    cache holds, by which some models choose their rotary embedding (0: few).
    """

    def __init__(
        self, values: Mapping[str, Any], tensors: Set[str] = frozenset(), name: str = "the model", context: int = 0
    ):
        self.tensors, self.name, self.context = tensors, name, context
        self.architecture: str = values.get("general.architecture", "?")
        self._neutral = guarded_keys(self.architecture)
        given = {key: f"{self.architecture}.{key}" for key in (*SIZES, *self._neutral)}
        self._values = {key: values[name] for key, name in given.items() if name in values}
        self.read_keys: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        """KeyError for a missing key."""
        self.read_keys.add(key)
        if key not in self._values:
            raise KeyError(f"{self.architecture}.{key}")
        return self._values[key]

    def get(self, key: str, default: Any = None) -> Any:
        self.read_keys.add(key)
        return self._values.get(key, default)

    def size(self, key: str, default: int | None = None) -> int:
        """A positive integer. DamagedDataError for anything else, KeyError for a missing one without a default."""
        size = self[key] if default is None else self.get(key, default)
        if type(size) is not int or size < 1:
            raise self._damaged(f"the size {size!r}", key)
        return size

    def number(self, key: str, default: float | None = None) -> float:
        """A real number. DamagedDataError for anything else, KeyError for a missing one without a default."""
        number = self[key] if default is None else self.get(key, default)
        if type(number) not in (int, float):
            raise self._damaged(f"the number {number!r}", key)
        return float(number)

    def of_layer(self, key: str, layer: int, default: int | None = None) -> int:
        """A size that may be an array with an entry for each layer."""
        found = self.get(key, default)
        if not isinstance(found, list):
            return self.size(key, default)
        if layer >= len(found) or type(found[layer]) is not int or found[layer] < 0:
            raise self._damaged(f"the sizes {found!r}", key)
        return found[layer]

    def refuse_unread(self) -> None:
        """UsageError names a guarded key of the file that was not read, and whose value changes something."""
        for key, neutral in self._neutral.items():
            if key not in self.read_keys and not self._changes_nothing(key, neutral):
                self.refuse(key)

    def refuse(self, key: str) -> NoReturn:
        """UsageError that names a key and its value."""
        found = f"{self.name} has {self.architecture}.{key} = {self._values.get(key)!r}"
        raise UsageError(f"{found}, which training does not know for this architecture; use another model")

    def _changes_nothing(self, key: str, neutral: tuple) -> bool:
        value = self._values.get(key)
        if value is None or (key in EQUAL_TO and value == self._or_default(EQUAL_TO[key])):
            return True
        return all(each in neutral for each in (value if isinstance(value, list) else [value]))

    def _or_default(self, key: str) -> Any:
        """A key's value, or what llama.cpp takes for it."""
        value = self._values.get(key)
        if value is None and key in DEFAULTS:
            return self._or_default(DEFAULTS[key])
        if value is None and key == "attention.key_length":
            return self._or_default("embedding_length") // max(1, self.of_layer("attention.head_count", 0))
        return value

    def _damaged(self, what: str, key: str) -> DamagedDataError:
        return DamagedDataError(f"{self.name} has {what} as {self.architecture}.{key}; convert the model again")
