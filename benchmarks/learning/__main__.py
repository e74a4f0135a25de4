"""What learning methods are worth, on many streams with intervals: hundreds of adapters at once on a GPU.

Run: make bench-learning, or step by step
    python benchmarks/learning prepare            questions and answers; needs llama.cpp, a CPU is enough
    python benchmarks/learning sample             second replies and embeddings; on a GPU some seconds
    python benchmarks/learning prepare            again, with these: retrieval and taps
    python benchmarks/learning run [--seconds N]  trains and measures; on a CPU days, on a GPU minutes
    python benchmarks/learning product            some of the same adapters by the product's own trainer
    python benchmarks/learning report             results/learning.json
Each adapter is a line in results/learning_cells.jsonl once it is measured: an interrupted run goes on where it stood.
Nothing of the conversations is in it. `run` and `sample` need PyTorch and the files of --folder, nothing else.
"""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from learning.examples_file import ExamplesFile  # noqa: E402
from learning.streams import FEW, GEMMA, KEPT, TAPS  # noqa: E402

FOLDER = Path(__file__).parents[2] / ".cache" / "learning"
RESULTS = Path(__file__).parents[1] / "results"
DATA = Path(__file__).parents[3] / "shared" / "data"


def prepare(arguments) -> None:
    from idletune.model.base_model import BaseModel
    from learning.prepare import Preparation, read_samples

    path, samples = _examples(arguments), _samples(arguments)
    with BaseModel(arguments.model, context_tokens=1024, sequences=1, threads=arguments.threads) as model:
        made = Preparation(model, arguments.data)
        made.ends()
        if arguments.forms_alone:
            made.answers(GEMMA)
            made.paraphrases(GEMMA, json.loads(samples.read_text()) if samples.is_file() else {})
        else:
            made.questions()
            made.answers(KEPT)
            if samples.is_file():
                replies, embeddings = read_samples(samples, made.file, model)
                made.retrieval(embeddings)
                made.taps(replies)
        made.file.write(path)


def sample(arguments) -> None:
    from learning.samples import write_paraphrases, write_samples

    write = write_paraphrases if arguments.forms_alone else write_samples
    write(_model(arguments), ExamplesFile.read(_examples(arguments)), _samples(arguments))


def run(arguments) -> None:
    from common import done_lines, end_last_line
    from learning import experiments
    from learning.running import Runner

    end_last_line(arguments.out)
    names = ("model", "experiment", "stream", "arm", "seed")
    done = {tuple(line[name] for name in names) for line in done_lines(arguments.out)}
    file = ExamplesFile.read(_examples(arguments))
    runner = Runner(_model(arguments), arguments.model.stem, arguments.out, arguments.seconds, done)
    if arguments.forms_alone:
        runner.run(experiments.as_it_comes(file, GEMMA))
        runner.run(experiments.forms(file, GEMMA))
        if f"{GEMMA[0]}|paraphrases" in file:
            runner.run(experiments.paraphrases(file, GEMMA))
        return
    runner.run(experiments.as_it_comes(file))
    if f"{TAPS[0]}|typed" in file:
        runner.run(experiments.taps(file, runner.likelihood_picks(file)))
        runner.run(experiments.few_shot(file))
        runner.run(experiments.forms(file))


def product(arguments) -> None:
    from learning import experiments
    from learning.product import measure

    file = ExamplesFile.read(_examples(arguments))
    jobs = [job for job in experiments.as_it_comes(file, arguments.streams or FEW) if job.seed == 0]
    measure(jobs, arguments.model, arguments.model.stem, arguments.out, arguments.threads)


def report(arguments) -> None:
    from common import done_lines, write_results
    from learning.report import figures

    lines = done_lines(arguments.out)
    write_results("learning", {"devices": sorted({line["device"] for line in lines}), "models": figures(lines)})


def _model(arguments):
    import torch
    from many_adapters.model import FrozenModel

    torch.set_float32_matmul_precision("high")  # TF32 on a GPU
    return FrozenModel(arguments.model, "cuda" if torch.cuda.is_available() else "cpu", arguments.threads)


def _examples(arguments) -> Path:
    return arguments.folder / f"{arguments.model.stem}-examples.npz"


def _samples(arguments) -> Path:
    return arguments.folder / f"{arguments.model.stem}-samples.{'json' if arguments.forms_alone else 'npz'}"


STEPS = {"prepare": prepare, "sample": sample, "run": run, "product": product, "report": report}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=tuple(STEPS))
    parser.add_argument("streams", nargs="*", help="of these alone (product); default: one of each data set")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="what prepare and sample write")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the conversation files")
    parser.add_argument("--out", type=Path, default=RESULTS / "learning_cells.jsonl")
    parser.add_argument("--seconds", type=float, default=12 * 3600, help="begin nothing that would end later")
    parser.add_argument("--forms-alone", action="store_true", help="forms of adapters and paraphrases, fewer streams")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    STEPS[arguments.step](arguments)


if __name__ == "__main__":
    main()
