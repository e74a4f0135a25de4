"""The loop on the tiny model, as several tests want it."""

import numpy as np
from idletune.dialogue import TokenEmbeddings
from idletune.model.reply import Reply
from idletune.runtime import Runtime
from idletune.settings import Settings

# A random model has no general language to lose, and its loss falls to nearly nothing, where engines differ,
# and which is suspicious elsewhere.
SETTINGS = Settings(
    threads=1,
    epochs=12,
    min_steps=0,
    learning_rate=0.01,
    rank=4,
    alpha=8,
    paraphrases=0,
    quiet_from=0,
    quiet_until=0,
    probe_tolerance=10.0,
    daily_limit=100,
    reply_tokens=12,
    engine_tolerance=0.3,
    suspicious_fall=1,
)


def open_tiny_runtime(model, default_home):
    def opened(settings=SETTINGS, home=None):
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


def saying(runtime):
    """Turns in which the model replies as told; each gives the id its exchange is kept as, None if it is not kept."""
    rng = np.random.default_rng(1)

    def turn(question, text, during=lambda messages: None):
        def chat(messages, **_):
            during(messages)
            embeddings = TokenEmbeddings(*rng.standard_normal((2, 3, 64)).astype(np.float32))
            return Reply(text, [1], embeddings, "end", 4)

        kept, own = {s.id for s in runtime.buffer.sets()}, runtime.model.chat
        runtime.model.chat = chat
        try:
            told = runtime.chat(question)
        finally:
            runtime.model.chat = own
        assert not told.unobserved, told.unobserved
        return next((s.id for s in runtime.buffer.sets() if s.id not in kept), None)

    return turn


def answer(runtime, id, text=None):
    """Answer the question about a set: with a better text, or the reply was good."""
    prompt = runtime.next_prompt(lambda each: each == id)
    runtime.queue.edit(prompt.id, text) if text else runtime.queue.accept(prompt.id)
