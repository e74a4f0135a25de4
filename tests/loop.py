"""The loop on the tiny model, as several tests want it."""

import shutil

import numpy as np
from idletune.dialogue import TokenEmbeddings
from idletune.model.base_model import Reply
from idletune.runtime import Runtime
from idletune.settings import Settings

# A random model has no general language to lose, and its loss falls to nearly nothing, where engines differ.
SETTINGS = Settings(
    threads=1, epochs=12, least_steps=0, learning_rate=0.01, rank=4, alpha=8, paraphrases=0, quiet_from=0,
    quiet_until=0, probe_tolerance=10.0, daily_limit=100, reply_tokens=12, engine_tolerance=0.3,
)


def open_tiny_runtime(model, graphs, default_home):
    def opened(settings=SETTINGS, home=None):
        shutil.copytree(graphs.folder, (home or default_home) / "graphs", dirs_exist_ok=True)
        return Runtime(home or default_home, model, settings, sequences=2)

    return opened


def observe(runtime, count, start=0):
    rng = np.random.default_rng(start)
    for i in range(start, start + count):
        reply = Reply("a reply", [1], TokenEmbeddings(*rng.standard_normal((2, 3, 64)).astype(np.float32)), "end", 4)
        runtime.observe(f"question number {i} about bread", reply)


def answer_all(runtime, text="aaaa aaaa aaaa"):
    while (prompt := runtime.next_prompt()) is not None:
        runtime.queue.edit(prompt.id, text)
