"""What learning methods are worth, on many streams with intervals: hundreds of adapters at once on a GPU.

Run: make bench-learning, or step by step
    python benchmarks/learning prepare            questions and answers; needs llama.cpp, a CPU is enough
    python benchmarks/learning sample             the replies that a user picks from; on a GPU some seconds
    python benchmarks/learning prepare            again, with these: taps and thumbs
    python benchmarks/learning run [--seconds N]  trains and measures; on a GPU minutes
    python benchmarks/learning product            some of the same adapters by the product's own trainer
    python benchmarks/learning report             results/learning.json, results/learning_cpu.json
    python benchmarks/learning paraphrases        written and learned by the product, and the answers
                                                  alone, more gently: results/paraphrases.json
Without a GPU `run` takes the product's own trainer, one adapter after the other, and measures what matters most:
thumbs, taps and forms, once on few streams, in some hours; --only one of them, --seeds for more. What it finds stands
by itself in results/learning_cpu.json.
Each adapter is a line in results/learning_cells.jsonl, or learning_cpu_cells.jsonl, once it is measured: an interrupted
run goes on where it stood. Nothing of the conversations is in it. `run` and `sample` need PyTorch and the files of
--folder, nothing else.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from learning.examples_file import ExamplesFile  # noqa: E402
from learning.streams import FEW, GEMMA, KEPT, PARAPHRASED  # noqa: E402

FOLDER = Path(__file__).parents[2] / ".cache" / "learning"
RESULTS = Path(__file__).parents[1] / "results"
TOGETHER, ONE_BY_ONE = RESULTS / "learning_cells.jsonl", RESULTS / "learning_cpu_cells.jsonl"
PARAPHRASES = RESULTS / "paraphrases_cells.jsonl"
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
    (_run_together if _device() == "cuda" else _run_one_by_one)(arguments, ExamplesFile.read(_examples(arguments)))


def _run_together(arguments, file: ExamplesFile) -> None:
    import torch
    from learning import experiments
    from learning.lines import Lines
    from learning.running import Runner

    lines = Lines(arguments.out or TOGETHER, arguments.model.stem, torch.cuda.get_device_name())
    runner, streams = Runner(_model(arguments), lines, arguments.seconds), GEMMA if arguments.forms_alone else KEPT
    runner.run(experiments.as_it_comes(file, streams))
    if not arguments.forms_alone:
        runner.run(experiments.taps(file, runner.likelihood_picks(file)))
        runner.run(experiments.thumbs(file))
        runner.run(experiments.few_shot(file))
    runner.run(experiments.forms(file, streams))


def _run_one_by_one(arguments, file: ExamplesFile) -> None:
    from learning import experiments

    jobs = experiments.one_by_one(file, arguments.seeds)
    _one_by_one(arguments, ONE_BY_ONE, [job for job in jobs if arguments.only in (job.experiment, None)])


def product(arguments) -> None:
    from learning import experiments
    from learning.product import beside

    file = ExamplesFile.read(_examples(arguments))
    jobs = experiments.as_it_comes(file, arguments.streams or FEW, seeds=1)
    _one_by_one(arguments, TOGETHER, beside(jobs))


def _one_by_one(arguments, out: Path, jobs) -> None:
    from learning.lines import Lines
    from learning.product import ProductRunner

    lines = Lines(arguments.out or out, arguments.model.stem, "CPU")
    ProductRunner(arguments.model, lines, arguments.seconds, arguments.threads).run(jobs)


def report(arguments) -> None:
    from common import done_lines, write_results
    from learning.report import figures
    from retrieval_gain import kept_before

    for path in [arguments.out] if arguments.out else (TOGETHER, ONE_BY_ONE):
        lines = done_lines(path)
        devices = sorted({line["device"] for line in lines if line["experiment"] != "product"})
        if lines:
            name = path.stem.removesuffix("_cells")
            write_results(name, {"devices": devices, "models": figures(lines, kept_before())})


def paraphrases(arguments) -> None:
    from common import done_lines, write_results
    from learning import gentler, paraphrases
    from learning.lines import Lines

    lines, streams = Lines(arguments.out or PARAPHRASES, arguments.model.stem, "CPU"), arguments.streams or PARAPHRASED
    made = paraphrases.Paraphrases(arguments.model, arguments.folder, arguments.data, lines, arguments.threads)
    made.run(arguments.seeds, arguments.seconds, streams)
    alone = gentler.Gentler(arguments.model, arguments.data, lines, arguments.threads)
    alone.run(arguments.seeds, arguments.seconds, streams)
    found = done_lines(lines.path)
    write_results("paraphrases", {"models": paraphrases.figures(found), "gentler": gentler.figures(found)})


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _model(arguments):
    import torch
    from many_adapters.model import FrozenModel

    torch.set_float32_matmul_precision("high")  # TF32 on a GPU
    return FrozenModel(arguments.model, _device(), arguments.threads)


def _examples(arguments) -> Path:
    return arguments.folder / f"{arguments.model.stem}-examples.npz"


def _replies(arguments) -> Path:
    return arguments.folder / f"{arguments.model.stem}-replies.json"


STEPS = {
    "prepare": prepare,
    "sample": sample,
    "run": run,
    "product": product,
    "report": report,
    "paraphrases": paraphrases,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=tuple(STEPS))
    parser.add_argument("streams", nargs="*", help="of these alone (product, paraphrases)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="what prepare and sample write")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the conversation files")
    parser.add_argument("--out", type=Path, help="lines of the measured adapters, where not in results")
    parser.add_argument("--only", choices=("thumbs", "taps", "kept"), help="of these alone, where there is no GPU")
    parser.add_argument("--seeds", type=int, default=1, help="of each arm, where there is no GPU")
    parser.add_argument("--seconds", type=float, default=12 * 3600, help="begin nothing that would end later")
    parser.add_argument("--forms-alone", action="store_true", help="forms of adapters, on fewer streams")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, default=Path(os.environ.get("IDLETUNE_MODEL", "")))
    arguments = parser.parse_args()
    STEPS[arguments.step](arguments)


if __name__ == "__main__":
    main()
