"""A night of real models on real conversations, end to end, in nats per byte of text, so that models compare.

Run: make bench-real-night, or python benchmarks/real_night.py [--model FILE]... [--stream NAME]... [--data FOLDER]
Of each stream (see selection/streams.py) the 60 exchanges before the last fifth are imported as the user's answers;
then the product learns: training, gate, promotion. What is measured is the last fifth, before and after, in the engine
that serves and in the trainer. A byte is one of the held-out responses. Each night is a process of its own, and is
skipped where it was measured at the present commit: a run that was stopped goes on.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import RESULTS, machine, peak_mb
from idletune.chat_files import Source, open_chat_file
from idletune.dialogue import Exchange
from idletune.runtime import Runtime
from idletune.settings import Settings
from selection.streams import DATA, split_stream

MODELS = Path(__file__).parents[1] / ".cache" / "models"
BASES = ("smollm2-135m-instruct-q4_1.gguf", "gemma-3-270m-q4_k_m.gguf")
STREAMS = ("ubuntu_irc/irc_04", "persona_chat/")
LENGTH, ANSWERS = 200, 60
RESULT = RESULTS / "real_night.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", type=Path, help="default: SmolLM2 135M and Gemma 3 270M")
    parser.add_argument("--stream", action="append", help="default: one user of ubuntu_irc, and persona_chat")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the conversation files")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    models = arguments.model or [MODELS / name for name in BASES]
    streams = arguments.stream or STREAMS
    if arguments.worker:
        return print(json.dumps(night(models[0], streams[0], arguments.data, arguments.threads)))
    nights = json.loads(RESULT.read_text())["nights"] if RESULT.is_file() else {}
    for stream in streams:
        for model in models:
            name, about = f"{model.stem} on {stream}", machine()
            if nights.get(name, {}).get("commit") == about["commit"]:
                continue
            load = os.getloadavg()[0]
            command = [sys.executable, __file__, "--worker", "--model", str(model), "--stream", stream]
            command += ["--data", str(arguments.data), "--threads", str(arguments.threads)]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            measured = {"stream": stream, "model": model.stem, "commit": about["commit"], "load": load}
            nights[name] = {**measured, **json.loads(told.splitlines()[-1])}
            RESULT.write_text(json.dumps({"machine": about, "nights": nights}, indent=1) + "\n")
            print(json.dumps(nights[name]), flush=True)


def night(model: Path, stream: str, data: Path, threads: int) -> dict:
    """Losses before and after, the gate's evidence, and what the night took."""
    seen, held_out = split_stream(stream, LENGTH, data)
    settings = Settings(threads=threads, import_share=1.0)
    with tempfile.TemporaryDirectory() as folder:
        with Runtime(Path(folder) / "home", model, settings) as runtime:
            kept = give_answers(runtime, seen[-ANSWERS:], Path(folder))
            examples = [runtime.model.encode_exchange(e.question, e.response) for e in held_out]
            before = losses(runtime, examples)
            start, cpu = time.monotonic(), time.process_time()
            report = runtime.learn(embed_anew=False)
            seconds, cpu_seconds = time.monotonic() - start, time.process_time() - cpu
            after = losses(runtime, examples)
            vocabulary = runtime.model.vocabulary
    size = sum(len(e.response.encode()) for e in held_out)
    return {
        "answers": kept,
        "learned": report.trained_sets,
        "held_out": len(held_out),
        "held_out_bytes": size,
        "held_out_tokens": before["tokens"],
        "vocabulary": vocabulary,
        "trainer": {"before": before["trainer"] / size, "after": after["trainer"] / size},
        "engine": {"before": before["engine"] / size, "after": after["engine"] / size},
        "promoted": report.verdict.promoted,
        "reason": report.verdict.reason,
        "adapter_scale": report.adapter_scale,
        "evidence": report.evidence.to_dict(),
        "plan": str(report.plan),
        "steps": len(report.losses),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "stages": report.seconds,
        "peak_mb": peak_mb(),
    }


def give_answers(runtime: Runtime, exchanges: list[Exchange], folder: Path) -> int:
    """Import exchanges as the user's answers; how many the buffer keeps."""
    path = folder / "answers.jsonl"
    lines = [json.dumps({"question": e.question, "response": e.response}) for e in exchanges]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    file = open_chat_file(Source.of(path))
    *_, done = runtime.import_conversations(file, runtime.preview_import(file))
    return done.kept


def losses(runtime: Runtime, examples: list) -> dict[str, float]:
    """Summed losses of what serves, in nats, in llama.cpp and in the trainer; and the labelled tokens."""
    runtime.catch_up()
    engine, tokens = runtime.model.negative_log_likelihood(examples)
    trainer = tokens * runtime.trainer_loss(examples, runtime.adapters.current())
    return {"engine": engine, "trainer": trainer, "tokens": tokens}


if __name__ == "__main__":
    main()
