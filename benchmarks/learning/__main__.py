"""What learning methods are worth, on many streams with intervals: hundreds of adapters at once on a GPU.

Run: make bench-learning, or step by step
    python benchmarks/learning prepare            questions and answers; needs llama.cpp, a CPU is enough
    python benchmarks/learning sample             the replies that a user picks from; on a GPU some seconds
    python benchmarks/learning prepare            again, with these: taps
    python benchmarks/learning run [--seconds N]  trains and measures; on a CPU days, on a GPU minutes
    python benchmarks/learning product            some of the same adapters by the product's own trainer
    python benchmarks/learning report             results/learning.json
Each adapter is a line in results/learning_cells.jsonl once it is measured: an interrupted run goes on where it stood.
Nothing of the conversations is in it. `run` and `sample` need PyTorch and the files of --folder, nothing else.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from learning.examples_file import ExamplesFile  # noqa: E402
from learning.streams import FEW, GEMMA, KEPT  # noqa: E402

FOLDER = Path(__file__).parents[2] / ".cache" / "learning"
RESULTS = Path(__file__).parents[1] / "results"
DATA = Path(__file__).parents[3] / "shared" / "data"


def prepare(arguments) -> None:
    from idletune.model.base_model import BaseModel
    from learning.prepare import Preparation, read_replies

    with BaseModel(arguments.model, context_tokens=1024, sequences=1, threads=arguments.threads) as model:
        made = Preparation(model, arguments.data)
        made.ends()
        if arguments.forms_alone:
            made.answers(GEMMA)
        else:
            made.prompts()
            made.answers(KEPT)
            made.retrieval()
            if _replies(arguments).is_file():
                made.taps(read_replies(_replies(arguments), model))
        made.file.write(_examples(arguments))


def sample(arguments) -> None:
    from learning.samples import write_replies

    write_replies(_model(arguments), ExamplesFile.read(_examples(arguments)), _replies(arguments))


def run(arguments) -> None:
    from common import done_lines, end_last_line
    from learning import experiments
    from learning.running import Runner

    end_last_line(arguments.out)
    names = ("model", "experiment", "stream", "arm", "seed")
    done = {tuple(line[name] for name in names) for line in done_lines(arguments.out)}
    file = ExamplesFile.read(_examples(arguments))
    runner = Runner(_model(arguments), arguments.model.stem, arguments.out, arguments.seconds, done)
    runner.run(experiments.as_it_comes(file, GEMMA if arguments.forms_alone else KEPT))
    if not arguments.forms_alone:
        runner.run(experiments.taps(file, runner.likelihood_picks(file)))
        runner.run(experiments.few_shot(file))
    runner.run(experiments.forms(file, GEMMA if arguments.forms_alone else KEPT))


def product(arguments) -> None:
    from learning import experiments
    from learning.product import measure

    file = ExamplesFile.read(_examples(arguments))
    jobs = [job for job in experiments.as_it_comes(file, arguments.streams or FEW) if job.seed == 0]
    measure(jobs, arguments.model, arguments.model.stem, arguments.out, arguments.threads)


def report(arguments) -> None:
    from common import done_lines, write_results
    from learning.report import figures
    from retrieval_gain import kept_before

    lines = done_lines(arguments.out)
    devices = sorted({line["device"] for line in lines if line["experiment"] != "product"})
    write_results("learning", {"devices": devices, "models": figures(lines, kept_before())})


def _model(arguments):
    import torch
    from many_adapters.model import FrozenModel

    torch.set_float32_matmul_precision("high")  # TF32 on a GPU
    return FrozenModel(arguments.model, "cuda" if torch.cuda.is_available() else "cpu", arguments.threads)


def _examples(arguments) -> Path:
    return arguments.folder / f"{arguments.model.stem}-examples.npz"


def _replies(arguments) -> Path:
    return arguments.folder / f"{arguments.model.stem}-replies.json"


STEPS = {"prepare": prepare, "sample": sample, "run": run, "product": product, "report": report}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=tuple(STEPS))
    parser.add_argument("streams", nargs="*", help="of these alone (product); default: one of each data set")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="what prepare and sample write")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the conversation files")
    parser.add_argument("--out", type=Path, default=RESULTS / "learning_cells.jsonl")
    parser.add_argument("--seconds", type=float, default=12 * 3600, help="begin nothing that would end later")
    parser.add_argument("--forms-alone", action="store_true", help="forms of adapters, on fewer streams")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    STEPS[arguments.step](arguments)


if __name__ == "__main__":
    main()
