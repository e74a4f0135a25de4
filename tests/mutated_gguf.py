"""GGUF files taken apart, changed and written again: one change at a time, or seeded mutations of any kind.

Run as a program it opens each of the files it is given, as the runtime would in its own process.
"""

import struct
import sys
from pathlib import Path

STRING, ARRAY, UINT32, INT32, FLOAT32, BOOL = 8, 9, 4, 5, 6, 7
FORMS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
WHOLE = (0, 1, 2, 3, 4, 5, 7, 8, 16, 31, 64, 127, 256, 512, 513, 1000, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
REAL = (0.0, -0.0, -1.0, float("nan"), float("inf"), -float("inf"), 1e-38, 1e38, 0.5, 1.0, 1e-45, 3.0)
TEXTS = (b"", b"none", b"yarn", b"longrope", b"linear", b"x" * 1000, b"\xff\xfe", b"default", b"llama3")
MODELS = "none no_vocab llama bert t5 rwkv plamo2 gemma4 test whitespace hybriddna gpt2 x".encode().split()
SPECIAL = (b"<|im_end|>", b"<|eot_id|>", b"</s>", b"<|end|>", b"<0x0A>", b"\xff", b" ", b"\n", b"")
MERGES = ([], [b""], [b"x"], [b"a b c"], [b" "], [b"t h", b"t h"], [b"\xff \xfe"], [b"q q"] * 100)
TENSOR_TYPES = (0, 1, 2, 3, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 28, 30, 34, 39, 99)
TENSOR_NAMES = (b"", b"blk.0.attn_q.bias", b"blk.7.attn_q.weight", b"x" * 70, b"rope_freqs.weight", b"output.weight")
BYTES = [b"<0x%02X>" % byte for byte in range(256)]


class Editable:
    """`values`: {key: (type, value)}, an array being (type, list); `tensors`: [[name, dimensions, type, offset]]."""

    def __init__(self, path: Path):
        self._data, self._at = path.read_bytes(), 8
        tensors, values = self._scalar("Q"), self._scalar("Q")
        self.values = dict(self._pair() for _ in range(values))
        self.tensors = [self._tensor() for _ in range(tensors)]
        self.blocks = self._data[-(-self._at // 32) * 32 :]

    def set(self, key: str, kind: int, value) -> "Editable":
        self.values[key] = kind, value
        return self

    def write(self, path: Path) -> Path:
        out = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.values)))
        for key, (kind, value) in self.values.items():
            out += packed(STRING, key.encode()) + struct.pack("<I", kind) + packed(kind, value)
        for name, dimensions, kind, offset in self.tensors:
            out += packed(STRING, name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
            out += struct.pack("<IQ", kind, offset)
        path.write_bytes(out + bytes(-len(out) % 32) + self.blocks)
        return path

    def mutate(self, rng, architecture: str, keys: list[str], architectures: list[str]) -> str:
        """Change one thing; returns what, in words."""
        names = "number number number add add add drop retype tokens tokenizer architecture tensor layers".split()
        name = rng.choice(names)
        return f"{name} {getattr(self, 'change_' + name)(rng, architecture, keys, architectures)}"

    def change_number(self, rng, *_):
        key = rng.choice([key for key, (kind, _) in self.values.items() if kind in FORMS])
        kind, _ = self.values[key]
        return self.set(key, kind, number(rng, kind)) and (key, self.values[key])

    def change_add(self, rng, architecture, keys, _):
        key = rng.choice(keys).replace("{arch}", architecture)
        return self.set(key, *anything(rng)) and (key, self.values[key])

    def change_drop(self, rng, *_):
        return self.values.pop(key := rng.choice(list(self.values))) and key

    def change_retype(self, rng, *_):
        key = rng.choice(list(self.values))
        return self.set(key, *anything(rng)) and (key, self.values[key])

    def change_tokens(self, rng, *_):
        kind, (element, tokens) = self.values.get("tokenizer.ggml.tokens", (ARRAY, (STRING, [b"a", b"b"])))
        tokens, change = list(tokens) if element == STRING else [b"a"], rng.randrange(8)
        place = rng.randrange(max(1, len(tokens)))
        if change == 0:
            tokens[place : place + 1] = tokens[:1]
        elif change == 1:
            tokens[place : place + 1] = [rng.choice(SPECIAL)]
        elif change == 2:
            tokens = tokens[:place]
        elif change == 3:
            tokens += [b"token %d" % n for n in range(rng.randrange(1, 50))]
        elif change == 4:
            tokens[:256] = BYTES
        elif change == 5:
            self.set("tokenizer.ggml.token_type", ARRAY, (INT32, [rng.randrange(-1, 8) for _ in tokens]))
        elif change == 6:
            self.set("tokenizer.ggml.merges", ARRAY, (STRING, rng.choice(MERGES)))
        else:
            self.set("tokenizer.ggml.scores", ARRAY, (FLOAT32, [rng.choice(REAL)] * rng.choice([len(tokens), 0, 3])))
        self.set("tokenizer.ggml.tokens", ARRAY, (STRING, tokens))
        return change

    def change_tokenizer(self, rng, *_):
        self.set("tokenizer.ggml.model", STRING, model := rng.choice(MODELS))
        if rng.random() < 0.5:
            self.set("tokenizer.ggml.add_bos_token", BOOL, True)
        if rng.random() < 0.5:
            self.values.pop("tokenizer.ggml.bos_token_id", None)
        if rng.random() < 0.5 and self.values.get("tokenizer.ggml.tokens", (0,))[0] == ARRAY:
            element, tokens = self.values["tokenizer.ggml.tokens"][1]
            if element == STRING:
                self.set("tokenizer.ggml.tokens", ARRAY, (STRING, BYTES + list(tokens)[256:]))
        return model

    def change_architecture(self, rng, architecture, _, architectures):
        other = rng.choice(architectures)
        self.set("general.architecture", STRING, other.encode())
        for key in [key for key in self.values if key.startswith(f"{architecture}.")]:
            self.values[other + key[len(architecture) :]] = self.values.pop(key)
        return other

    def _tensor(self):
        name, dimensions = self._text(), [self._scalar("Q") for _ in range(self._scalar("I"))]
        return [name, dimensions, self._scalar("I"), self._scalar("Q")]

    def change_tensor(self, rng, *_):
        tensor, change = rng.choice(self.tensors), rng.randrange(5)
        if change == 0:
            tensor[0] = rng.choice(TENSOR_NAMES)
        elif change == 1:
            tensor[1][rng.randrange(len(tensor[1]))] = rng.choice([0, 1, 2, 16, 32, 64, 96, 260, 2**31, 2**63])
        elif change == 2:
            tensor[2] = rng.choice(TENSOR_TYPES)
        elif change == 3:
            tensor[3] = rng.choice([0, 1, 32, 64, 2**40, 2**63])
        else:
            self.tensors.remove(tensor)
        return change, tensor

    def change_layers(self, rng, *_):
        """One number for each layer, where there was one for all."""
        keys = [key for key, (kind, _) in self.values.items() if kind in (UINT32, INT32)]
        if not keys:
            return ""
        kind, value = self.values[key := rng.choice(keys)]
        numbers = [rng.choice([value, number(rng, kind)]) for _ in range(rng.choice([1, 2, 2, 2, 3, 513]))]
        return self.set(key, ARRAY, (kind, numbers)) and (key, numbers[:3])

    def _pair(self):
        key, kind = self._text().decode(), self._scalar("I")
        return key, (kind, self._value(kind))

    def _value(self, kind: int):
        if kind == STRING:
            return self._text()
        if kind == ARRAY:
            element, count = self._scalar("I"), self._scalar("Q")
            return element, [self._value(element) for _ in range(count)]
        return self._scalar(FORMS[kind])

    def _scalar(self, form: str):
        (value,) = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        return value

    def _text(self) -> bytes:
        length = self._scalar("Q")
        self._at += length
        return self._data[self._at - length : self._at]


def packed(kind: int, value) -> bytes:
    if kind == STRING:
        return struct.pack("<Q", len(value)) + value
    if kind == ARRAY:
        element, values = value
        return struct.pack("<IQ", element, len(values)) + b"".join(packed(element, each) for each in values)
    try:
        return struct.pack("<" + FORMS[kind], value)
    except (struct.error, OverflowError):  # a number too large for its type
        return struct.pack("<" + FORMS[kind], 0)


def number(rng, kind: int):
    return rng.random() < 0.5 if kind == BOOL else rng.choice(REAL if kind in (FLOAT32, 12) else WHOLE)


def anything(rng) -> tuple:
    kind = rng.choice([UINT32, UINT32, UINT32, FLOAT32, FLOAT32, STRING, ARRAY, BOOL, 10, INT32, 0])
    if kind == STRING:
        return kind, rng.choice(TEXTS)
    if kind == ARRAY:
        element, count = rng.choice([UINT32, INT32, FLOAT32, BOOL, STRING]), rng.choice([0, 1, 2, 2, 2, 4, 260, 512])
        return kind, (element, [b"x%d" % n if element == STRING else number(rng, element) for n in range(count)])
    return kind, number(rng, kind)


def open_each(paths: list[str]) -> None:
    from idletune.errors import IdleTuneError
    from idletune.formats import gguf_checks
    from idletune.formats.gguf_file import GgufFile
    from idletune.model import trial
    from idletune.model.llama_engine import LlamaEngine

    for path in paths:
        print(path, flush=True)
        try:
            gguf = GgufFile(Path(path))
            gguf_checks.check_metadata(gguf)
            gguf_checks.check_tokens(gguf)
            engine = LlamaEngine(Path(path), cells=512, sequences=2, threads=1)
            trial.use(engine)
            engine.close()
            print("opened", flush=True)
        except IdleTuneError as error:
            print(f"refused: {error}", flush=True)


if __name__ == "__main__":
    open_each(sys.argv[1:])
