"""Measures the installed runtime on the machine it runs on: one file, copied to the target and run there.

Run: python on_target.py JOB.json RESULT.json
Needs what the runtime needs (numpy, onnxruntime, llama.cpp) and nothing else. JOB holds `model` (a GGUF, by its
path from JOB), `parts`, `repeats`, `threads`
(0 = all cores) and `python`, the command that starts Python where the interpreter's path alone does not. Every part
runs in a process of its own: its peak memory is its own, and starting up is a real start. RESULT holds raw
samples; the statistics are made elsewhere.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

QUESTION = "Tell me a long story about an old sailor, his boat and the storm they met."
LONG_QUESTION = " ".join(f"{n}. How do I mend the sail, the mast and the rudder of my boat?" for n in range(10))
REPLY_TOKENS, ANSWER = 32, "Right then, sew it with a size 16 needle, and round the corners."
PARITY_STEPS, PARITY_TOKENS = 2, 16  # few: an emulated step of the 135M model takes minutes
MS, RATE = "ms", "tokens/s"


class Samples:
    """Values by measure, each with its unit."""

    def __init__(self):
        self.found: dict[str, dict] = {}

    def add(self, name: str, unit: str, value: float) -> None:
        self.found.setdefault(name, {"unit": unit, "values": []})["values"].append(value)

    @contextmanager
    def timed(self, name: str):
        start = time.perf_counter()
        yield
        self.add(name, MS, 1e3 * (time.perf_counter() - start))


def main(job_path: str, result_path: str) -> None:
    job = read_job(job_path)
    result = {"environment": environment(), "device_before": device_state(), "measures": {}, "peak_mb": {}, "facts": {}}
    for number, part in enumerate(job["parts"], start=1):
        print(f"{number}/{len(job['parts'])} {part}", file=sys.stderr, flush=True)
        if part == "start_up":
            result["measures"].update(start_up(job, job_path))
            continue
        found = run_part(job, job_path, part)
        result["measures"].update(found["measures"])
        result["peak_mb"][part] = found["peak_mb"]
        result["facts"].update(found["facts"])
    result["device_after"] = device_state()
    partial = Path(f"{result_path}.part")
    partial.write_text(json.dumps(result))
    os.replace(partial, result_path)  # whole or not there: a killed run leaves no result that looks like one


def read_job(path: str) -> dict:
    job = json.loads(Path(path).read_text())
    return {**job, "model": str(Path(path).parent / job["model"]), "folder": str(Path(path).parent)}


def start_up(job: dict, job_path: str) -> dict:
    """From nothing to a runtime that is ready to answer: interpreter, imports, model, state."""
    samples = Samples()
    for _ in range(job["repeats"] + 1):
        with samples.timed("start-up"):
            run_part(job, job_path, "open")
    # The first one warms the disk cache, makes the home, and tries the model in a process of its own.
    samples.found["start-up"]["values"].pop(0)
    shutil.rmtree(home_of_starts(job))
    return samples.found


def run_part(job: dict, job_path: str, part: str) -> dict:
    command = [*(job.get("python") or [sys.executable]), __file__, "--part", part, job_path]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"the part {part} ended with {done.returncode}; its own words are above")
    return json.loads(done.stdout.splitlines()[-1])


def part_alone(part: str, job: dict) -> None:
    samples = Samples()
    facts = PARTS[part](job, samples) or {}
    print(json.dumps({"measures": samples.found, "facts": facts, "peak_mb": peak_mb()}))


def home_of_starts(job: dict) -> Path:
    return Path(job["folder"]) / "home-of-starts"


@contextmanager
def opened(job: dict, home: Path | None = None):
    """A runtime that asks at any hour, in a new home where none is given."""
    from idletune.runtime import Runtime
    from idletune.settings import Settings

    settings = Settings(threads=job["threads"], quiet_from=0, quiet_until=0, daily_limit=1000, buffer_capacity=16)
    with tempfile.TemporaryDirectory() as scratch:
        with Runtime(home or Path(scratch), Path(job["model"]), settings, sequences=2) as runtime:
            yield runtime


def measure_open(job: dict, samples: Samples) -> None:
    with opened(job, home_of_starts(job)):
        pass


def measure_serving(job: dict, samples: Samples) -> dict:
    """Answering, with and without an adapter; observing; the question to the user; changing the adapter."""
    with opened(job) as runtime:
        adapters = [new_adapter(runtime, seed).path for seed in (1, 2)]
        _answer(runtime, Samples(), "", 0)  # warm-up
        shares = []
        for number in range(job["repeats"]):
            runtime.model.remove_adapter()
            shares.append(_answer(runtime, samples, "", number))
            with samples.timed("adapter swap"):
                runtime.model.load_adapter(adapters[number % 2])
            _answer(runtime, samples, ", adapter", number)
        observing, replying = map(sum, zip(*shares))
        samples.add("observe, share of a reply", "%", 100 * observing / replying)
        return {"reply_tokens": REPLY_TOKENS, "adapter_bytes": adapters[0].stat().st_size}


def _answer(runtime, samples: Samples, kind: str, number: int) -> tuple[float, float]:
    """One round of everything about a reply; returns the seconds of observing and of replying."""
    from idletune.model.chat_template import conversation

    def chat(question: str, tokens: int):
        runtime.model.clear()
        return runtime.model.chat(conversation(question), max_tokens=tokens, temperature=0.7, top_p=0.9, seed=number)

    with samples.timed(f"first token{kind}"):
        chat(QUESTION, 1)
    start = time.perf_counter()
    prompt_tokens = chat(LONG_QUESTION, 1).prompt_tokens
    samples.add(f"prefill{kind}", RATE, prompt_tokens / (time.perf_counter() - start))
    with stamps(runtime.model) as times:
        start = time.perf_counter()
        reply = chat(QUESTION, REPLY_TOKENS)
        replying = time.perf_counter() - start
    if len(times) > 1:
        samples.add(f"decode{kind}", RATE, (len(times) - 1) / (times[-1] - times[0]))
    start = time.perf_counter()
    runtime.observe(f"{number}{kind}: {QUESTION}", reply)
    observing = time.perf_counter() - start
    samples.add("observe", MS, 1e3 * observing)
    _prompt(runtime, samples)
    return observing, replying


def _prompt(runtime, samples: Samples) -> None:
    """The next question to the user and its answer, safe on the disk."""
    start = time.perf_counter()
    prompt = runtime.next_prompt()
    if prompt is not None:  # the policy did not keep every exchange
        runtime.queue.edit(prompt.id, ANSWER)
        samples.add("question and answer", MS, 1e3 * (time.perf_counter() - start))


@contextmanager
def stamps(model):
    """When each token of a reply was sampled."""
    engine, times = model.engine, []
    plain = engine.sample

    def sample(*arguments):
        token = plain(*arguments)
        times.append(time.perf_counter())
        return token

    engine.sample = sample
    try:
        yield times
    finally:
        del engine.sample


def measure_beside_plain(job: dict, samples: Samples) -> dict:
    """Decoding by our runtime and by llama.cpp's own calls, in turns; the ratio is that of the pairs."""
    from idletune.model.chat_template import conversation

    with opened(job) as runtime:
        prompt = runtime.model.encode_prompt(conversation(QUESTION))
        engine, plain = runtime.model.engine, PlainContext(runtime.model.engine, job["threads"])
        for number in range(-1, job["repeats"]):
            runtime.model.clear()
            with stamps(runtime.model) as times:
                runtime.model.chat(
                    conversation(QUESTION), max_tokens=REPLY_TOKENS, temperature=0.7, top_p=0.9, seed=max(0, number)
                )
            beside = plain.reply_times(prompt, engine.sampler(0.7, 0.9, max(0, number)), len(times))
            if number < 0 or len(times) < 2:
                continue
            samples.add("plain llama.cpp, decode", RATE, (len(beside) - 1) / (beside[-1] - beside[0]))
            samples.add("decode, of plain llama.cpp", "x", (beside[-1] - beside[0]) / (times[-1] - times[0]))


class PlainContext:
    """llama.cpp with its default parameters and nothing of ours around it."""

    def __init__(self, engine, threads: int):
        import llama_cpp.llama_cpp as llama
        from idletune.settings import cores

        self.llama, self.vocabulary = llama, engine._vocabulary
        params = llama.llama_context_default_params()
        params.n_ctx, params.n_threads, params.n_threads_batch = 1024, threads or cores(), threads or cores()
        self.context = llama.llama_init_from_model(engine._model, params)

    def reply_times(self, prompt: list[int], sampler, count: int) -> list[float]:
        """When each of `count` tokens was sampled."""
        llama, times = self.llama, []
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        tokens = (llama.llama_token * len(prompt))(*prompt)
        for _ in range(count):
            llama.llama_decode(self.context, llama.llama_batch_get_one(tokens, len(tokens)))
            token = llama.llama_sampler_sample(sampler, self.context, -1)
            times.append(time.perf_counter())
            tokens = (llama.llama_token * 1)(token)
        llama.llama_sampler_free(sampler)
        return times


def measure_training(job: dict, samples: Samples) -> dict:
    """One micro-step after the other on the demo's story, and writing the checkpoint."""
    with opened(job) as runtime, tempfile.TemporaryDirectory() as folder:
        trainer = new_trainer(runtime, job, story(runtime), epochs=job["repeats"] + 1)
        trainer.run(lambda: True)  # warm-up
        for _ in range(job["repeats"]):
            outcome = trainer.run(lambda: True)
            samples.add("micro-step", MS, 1e3 * outcome.seconds)
            samples.add("training", RATE, outcome.tokens / outcome.seconds)
        trainer.checkpoint = Path(folder) / "checkpoint"
        for _ in range(job["repeats"]):
            with samples.timed("checkpoint"):
                trainer.save()
        return {
            "sequence_tokens": trainer.settings.sequence_tokens,
            "checkpoint_bytes": trainer.checkpoint.stat().st_size,
        }


def measure_parity(job: dict, samples: Samples) -> dict:
    """Losses that must be the same on every machine: the base in both engines, then a few training steps."""
    from dataclasses import replace

    with opened(job) as runtime:
        examples = [runtime.model.encode_text(text, max_tokens=PARITY_TOKENS) for text in (QUESTION, LONG_QUESTION)]
        # One thread: sums are taken in one order wherever it runs. On int8 the last bit of a sum can move a code.
        runtime.use_settings(replace(runtime.settings, matmul_dtype="float32"))
        trainer = new_trainer(runtime, {**job, "threads": 1}, examples, epochs=PARITY_STEPS)
        before, count = trainer.evaluate(examples)
        engine, _ = runtime.model.negative_log_likelihood(examples)
        steps = [trainer.run(lambda: True).losses[0] for _ in range(PARITY_STEPS)]
        after, _ = trainer.evaluate(examples)
        losses = {"base, trainer": before / count, "base, llama.cpp": engine / count, "trained, trainer": after / count}
        return {"parity": {**losses, **{f"step {n + 1}": loss for n, loss in enumerate(steps)}}}


def measure_loop(job: dict, samples: Samples) -> dict:
    """Chat, observe, answer, learn, judge, serve: on a tiny random model, whose losses the gate gave are compared."""
    from dataclasses import replace

    with opened(job) as runtime:
        # A random model has no general language to lose, and its loss falls to nearly nothing, where engines differ.
        settings = replace(
            runtime.settings,
            threads=1,
            matmul_dtype="float32",
            epochs=4,
            min_steps=0,
            learning_rate=0.01,
            rank=4,
            alpha=8.0,
            paraphrases=0,
            probe_tolerance=10.0,
            engine_tolerance=0.3,
            suspicious_fall=1.0,
            sequence_tokens=128,
        )
        runtime.use_settings(settings)
        asked = [{"role": "user", "content": QUESTION}]
        reply = runtime.model.chat(asked, max_tokens=8, temperature=0, top_p=1, seed=0)
        for number in range(8):
            runtime.observe(f"{number} loaves of bread, how long?", fixed_reply(runtime.model.hidden, number))
        while (prompt := runtime.next_prompt()) is not None:
            runtime.queue.edit(prompt.id, "aaaa aaaa aaaa")
        report = runtime.learn()
        evidence = {name.replace("engine_", "llama.cpp, "): loss for name, loss in vars(report.evidence).items()}
        promoted = runtime.adapters.current() is not None
        return {
            "loop": {**evidence, "last step": report.losses[-1]},
            "loop_promoted": promoted,
            "loop_verdict": report.verdict.reason,
            "loop_first_reply": reply.tokens,
        }


def fixed_reply(hidden: int, seed: int):
    """A reply whose embeddings are the same everywhere, so that every machine keeps the same exchanges."""
    import numpy as np
    from idletune.dialogue import TokenEmbeddings
    from idletune.model.reply import Reply

    embeddings = np.random.default_rng(seed).standard_normal((2, 3, hidden)).astype(np.float32)
    return Reply("a reply", [1], TokenEmbeddings(*embeddings), "end", 4)


def new_adapter(runtime, seed: int):
    """A candidate with small random values, as large as a trained one."""
    import numpy as np
    from idletune.formats.gguf_file import GgufFile
    from idletune.formats.model_shape import ModelShape
    from idletune.training.lora import Lora

    s = runtime.settings
    lora = Lora.from_settings(ModelShape.of(GgufFile(runtime.model.path)), s)
    lora.flat[...] = 1e-3 * np.random.default_rng(seed).standard_normal(lora.size)
    return runtime.adapters.add(lora, s, [])


def story(runtime) -> list:
    """The first exchanges of the demo as training examples."""
    from idletune.chat_files import read_exchanges

    exchanges = read_exchanges(files("idletune") / "data" / "demo_stream.jsonl")[:12]
    longest = runtime.settings.sequence_tokens
    return [runtime.model.encode_exchange(e.question, e.response, max_tokens=longest) for e in exchanges]


def new_trainer(runtime, job: dict, examples: list, epochs: int):
    """A trainer with a fresh adapter, by the settings a night has; an epoch is a micro-step or more."""
    from dataclasses import replace

    from idletune.formats.gguf_file import GgufFile
    from idletune.formats.model_shape import ModelShape
    from idletune.training.budget import plan_within_budget
    from idletune.training.int8 import use_int8
    from idletune.training.layers import Layers
    from idletune.training.lora import Lora
    from idletune.training.trainer import Trainer

    s = replace(runtime.settings, epochs=epochs, min_steps=0, threads=job["threads"])
    file = GgufFile(Path(job["model"]))
    shape = ModelShape.of(file)
    lora = Lora.from_settings(shape, s)
    int8 = use_int8(s.matmul_dtype, s.threads)
    plan = plan_within_budget(lora, s, int8=int8, mapped=False)
    return Trainer(Layers.planned(file, lora, plan, s.threads), examples, s)


def environment() -> dict:
    """What the figures depend on; None for what this machine does not tell."""
    from importlib.metadata import PackageNotFoundError, version

    def known(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "abi": platform.machine(),
        "system": sys.platform,
        "kernel": platform.release(),
        "cores": cores,
        "cpu": cpu_name(),
        "max_mhz": max_mhz(),
        "load": [round(load, 1) for load in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: known(name) for name in ("numpy", "onnxruntime", "llama_cpp_python")},
    }


def cpu_name() -> str | None:
    for line in _text("/proc/cpuinfo").splitlines():
        if line.split(":")[0].strip() in ("model name", "Hardware", "CPU part"):
            return line.split(":", 1)[1].strip()
    return None


def max_mhz() -> list[float] | None:
    """Of each core, where the kernel tells; a phone's cores differ."""
    tops = [_text(path) for path in sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/cpuinfo_max_freq"))]
    return [int(top) / 1e3 for top in tops if top.isdigit()] or None


def device_state() -> dict:
    """Battery and heat as the runtime itself sees them."""
    from idletune.schedule.state_sources import make_source

    return vars(make_source("auto", Path(tempfile.gettempdir())).read())


def peak_mb() -> float:
    """The process's peak resident memory, in MB."""
    return int(_text("/proc/self/status").split("VmHWM:")[1].split()[0]) / 1e3


def _text(path) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


PARTS = {
    "open": measure_open,
    "serving": measure_serving,
    "beside_plain": measure_beside_plain,
    "training": measure_training,
    "parity": measure_parity,
    "loop": measure_loop,
}

if __name__ == "__main__":
    if sys.argv[1] == "--part":
        part_alone(sys.argv[2], read_job(sys.argv[3]))
    else:
        main(*sys.argv[1:3])
