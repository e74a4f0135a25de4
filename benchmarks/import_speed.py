"""How fast a large export is read and how much memory that takes; our reader of JSON beside ijson.

Run: make bench-import, or python benchmarks/import_speed.py
A ChatGPT export of a million messages and a WhatsApp chat of a million lines are made up, read as `idletune import`
does before it asks, each in a process of its own. ijson reads the same ChatGPT export with its C library and with
Python alone, as it would on a phone.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from common import peak_mb, write_results

MESSAGES, A_CONVERSATION = 1_000_000, 20
WORDS = "bread rye dough oven salt water warm hour flour starter crust loaf bake fold rest knead heat steam".split()


def write_chatgpt(path: Path, messages: int) -> None:
    rng = random.Random(0)
    with path.open("w") as file:
        for number in range(messages // A_CONVERSATION):
            file.write("[" if not number else ",")
            json.dump(conversation(number, rng), file)
        file.write("]")


def conversation(number: int, rng: random.Random) -> dict:
    mapping: dict = {"root": {"id": "root", "message": None, "parent": None, "children": ["0"]}}
    for turn in range(A_CONVERSATION):
        text = " ".join(rng.choices(WORDS, k=40)) + f" {number} {turn}"
        message = {
            "id": str(turn),
            "author": {"role": ("user", "assistant")[turn % 2], "name": None, "metadata": {}},
            "create_time": 1.6e9 + 1000 * number + turn,
            "content": {"content_type": "text", "parts": [text]},
            "status": "finished_successfully",
            "weight": 1.0,
            "metadata": {"model_slug": "m", "finish_details": {"type": "stop"}},
            "recipient": "all",
        }
        parent = str(turn - 1) if turn else "root"
        mapping[str(turn)] = {"id": str(turn), "message": message, "parent": parent, "children": []}
    return {"title": f"Talk {number}", "mapping": mapping, "current_node": str(A_CONVERSATION - 1)}


def write_whatsapp(path: Path, messages: int) -> None:
    rng = random.Random(0)
    with path.open("w") as file:
        for number in range(messages):
            moment = time.strftime("%d/%m/%Y, %H:%M", time.gmtime(1.6e9 + 60 * number))
            file.write(f"{moment} - {('Anna', 'Ben')[number % 2]}: {' '.join(rng.choices(WORDS, k=12))} {number}\n")


def read_ours(path: Path, me: str) -> int:
    from idletune.chat_files import Source, open_chat_file
    from idletune.progress import Progress
    from idletune.runtime.importing import Importer
    from idletune.settings import Settings
    from idletune.state.store import Store

    with tempfile.TemporaryDirectory() as home, Store(Path(home) / "home") as store:
        parts = SimpleNamespace(settings=Settings())  # a preview needs no model
        importer = Importer(store, parts, 576, None)  # type: ignore[arg-type]
        return importer.preview(open_chat_file(Source.of(path)), me, Progress).exchanges


def read_ijson(path: Path, backend: str) -> int:
    import ijson

    with path.open("rb") as file:
        return sum(1 for _ in ijson.get_backend(backend).items(file, "item", use_float=True))


def measure(path: Path, how: str) -> dict:
    """Time and peak memory of one reading, in a process of its own."""
    found = subprocess.run([sys.executable, __file__, "--read", str(path), how], capture_output=True, text=True)
    return json.loads(found.stdout)


def read(path: Path, how: str) -> dict:
    start, processor = time.monotonic(), time.process_time()
    count = read_ijson(path, how.removeprefix("ijson ")) if how.startswith("ijson") else read_ours(path, how)
    used = time.process_time() - processor
    return {
        "records": count,
        "seconds": round(time.monotonic() - start, 1),
        "processor_seconds": round(used, 1),
        "megabytes": round(path.stat().st_size / 1e6),
        "mb_a_second": round(path.stat().st_size / 1e6 / used, 1),
        "peak_mb": round(peak_mb()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--read", nargs=2, metavar=("FILE", "HOW"), help="one reading; prints JSON")
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(Path(arguments.read[0]), arguments.read[1])))
        return
    found: dict = {"messages": arguments.messages}
    with tempfile.TemporaryDirectory() as folder:
        chatgpt, whatsapp = Path(folder) / "conversations.json", Path(folder) / "chat.txt"
        write_chatgpt(chatgpt, arguments.messages)
        write_whatsapp(whatsapp, arguments.messages)
        found["chatgpt"] = measure(chatgpt, "")
        found["whatsapp"] = measure(whatsapp, "Ben")
        found["ijson, C"] = measure(chatgpt, "ijson yajl2_c")
        small = Path(folder) / "small.json"
        write_chatgpt(small, arguments.messages // 20)  # a twentieth: Python alone is slow
        found["ijson, Python"] = measure(small, "ijson python")
    write_results("import_speed", found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
