"""What Java, JNI and C cost beside the Python API.

Run: make bench-bridge, or python benchmarks/bridge_cost.py [--chats N]
- a call from Java through JNI, C and Python and back, in microseconds: `version` as bytes, `prompts` by the public API;
- the same streamed chats from Java and from Python, turn and turn about, in two processes: tokens a second.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from statistics import median

from common import write_results
from idletune.progress import Progress
from idletune.runtime import Runtime
from idletune.settings import Settings

ROOT = Path(__file__).parents[1]
JAVA = ROOT / "android_bridge" / "java"
REPLY_TOKENS = 64


def start_java(model: Path, folder: Path) -> subprocess.Popen:
    """The JVM with the same model and settings, waiting for questions."""
    run = ["mvn", "-B", "-q", "-f", str(JAVA / "pom.xml")]
    class_path = JAVA / "target" / "class-path.txt"
    subprocess.run([*run, "test-compile"], check=True)
    subprocess.run(
        [*run, "dependency:build-classpath", f"-Dmdep.outputFile={class_path}", "-Dmdep.includeScope=test"], check=True
    )
    (folder / "python").mkdir()
    (folder / "python" / "idletune").symlink_to(ROOT / "device")
    packages = [path for path in sys.path if path.endswith("site-packages")]
    given = {
        "LIBPYTHON": str(Path(sysconfig.get_config_var("LIBDIR")) / sysconfig.get_config_var("LDLIBRARY")),
        "PYTHONPATH": os.pathsep.join([str(folder / "python"), *packages]),
        "REAL_MODEL": str(model),
        "HOME": str(folder / "java"),
    }
    places = [JAVA / "target" / "classes", JAVA / "target" / "test-classes", class_path.read_text().strip()]
    return subprocess.Popen(
        [
            "java",
            f"-Dio.idletune.library={ROOT / 'build/native/libidletune.so'}",
            "-cp",
            ":".join(map(str, places)),
            "io.idletune.Cost",
            str(REPLY_TOKENS),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **{f"IDLETUNE_TEST_{name}": value for name, value in given.items()}},
    )


def chat_in_java(java: subprocess.Popen, question: str) -> dict:
    java.stdin.write(question + "\n")
    java.stdin.flush()
    return json.loads(java.stdout.readline())


def chat_in_python(runtime: Runtime, question: str) -> dict:
    runtime.new_conversation()
    start = time.perf_counter()
    reply = runtime.chat(question, on_text=lambda text: None)
    return {"seconds": time.perf_counter() - start, "text": reply.text, "tokens": len(reply.tokens)}


def measure(model: Path, chats: int) -> dict:
    settings = Settings(quiet_from=0, quiet_until=0, temperature=0.0, reply_tokens=REPLY_TOKENS)
    speeds, seconds = {"java": [], "python": []}, {"java": 0.0, "python": 0.0}
    pieces, tokens = 0, 0
    with tempfile.TemporaryDirectory() as folder, start_java(model, Path(folder)) as java:
        calls = json.loads(java.stdout.readline())
        with Runtime(Path(folder) / "python-home", model, settings) as runtime, Progress("chats", chats) as bar:
            for number in range(chats):
                question = f"Tell me about the number {number} in three sentences."
                found = {}
                for way in ("java", "python") if number % 2 else ("python", "java"):
                    found[way] = chat_in_java(java, question) if way == "java" else chat_in_python(runtime, question)
                if found["java"]["text"] != found["python"]["text"]:
                    raise SystemExit(f"Java and Python answer differently to: {question}")
                for way, done in found.items():
                    speeds[way].append(found["python"]["tokens"] / done["seconds"])
                    seconds[way] += done["seconds"]
                pieces, tokens = pieces + found["java"]["pieces"], tokens + found["python"]["tokens"]
                bar(number + 1)
        java.stdin.close()
    return {
        "call_us": {name: round(value, 1) for name, value in calls.items()},
        "chats": chats,
        "chat_tokens_a_second": {way: round(median(all_), 1) for way, all_ in speeds.items()},
        "streamed_share": round(seconds["python"] / seconds["java"], 3),
        "pieces_a_token": round(pieces / tokens, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chats", type=int, default=20)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    found = measure(arguments.model.resolve(), arguments.chats)
    write_results("bridge_cost", found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
