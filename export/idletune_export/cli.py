"""idletune-export: makes what a phone runs, and checks it. For the developer's machine.

Exit codes: 0 done, 2 wrong use or input, 1 a fault of ours.
"""

import argparse
import os
import sys
from pathlib import Path

from idletune.errors import IdleTuneError, UsageError
from idletune.progress import Progress

KINDS = ("F16", "Q8_0", "Q4_0", "Q4_1", "Q4_K_M")
ONNX_WEIGHTS = ("fp32", "int8", "int4")


def folder(arguments) -> None:
    from .hugging_face_folder import write_hugging_face_folder

    with _new(arguments.output) as path:
        write_hugging_face_folder(arguments.model, path, bars=Progress)
    print(f"wrote {arguments.output}")


def gguf(arguments) -> None:
    from .gguf_model import write_gguf_model, write_quantized

    with _new(arguments.output) as path:
        if arguments.kind == "F16":
            write_gguf_model(arguments.model, path, Progress)
        else:
            write_quantized(arguments.model, path, arguments.kind, Progress)
    print(f"wrote {arguments.output}, {arguments.output.stat().st_size / 1e6:.1f} MB")


def adapter(arguments) -> None:
    from .adapter_files import convert_adapter
    from .own_adapters import record_if_own

    with _new(arguments.output) as path:
        made = convert_adapter(arguments.adapter, path, arguments.base, arguments.precision)
        own = record_if_own(arguments.adapter, path, arguments.output)
    print(f"wrote {arguments.output}: rank {made.rank}, alpha {made.alpha:g}, {len(made.modules)} layers")
    if own:
        print("it holds what its home learned of you; the home keeps where it is, for forget to name it")


def bundle(arguments) -> None:
    from .bundle import build_bundle
    from .sources import find_source

    source = find_source(arguments.model)
    target = arguments.output or Path("dist/phone") / source.name
    manifest = build_bundle(source, target, kind=arguments.kind, onnx=arguments.onnx, wheel=not arguments.no_wheel)
    total = sum(facts["bytes"] for facts in manifest["files"].values())
    print(f"wrote {target}, {total / 1e6:.1f} MB in {len(manifest['files'])} files")


def verify(arguments) -> None:
    from .sources import find_source
    from .verify import report, verify_bundle

    original = find_source(arguments.original).path if arguments.original else None
    print(report(verify_bundle(arguments.bundle, original, arguments.adapter, bars=Progress)))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="idletune-export", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _bundle_commands(commands)
    made = _command(
        commands,
        adapter,
        "convert a LoRA adapter: PEFT folder, .gguf or .onnx_adapter, each way",
        "NAME.gguf, NAME.onnx_adapter or a folder",
    )
    made.add_argument("adapter", type=Path, help="PEFT folder, .gguf or .onnx_adapter")
    made.add_argument("--base", type=Path, required=True, help="its base model: GGUF file or Hugging Face folder")
    made.add_argument("--precision", choices=("F32", "F16", "Q8_0"), default="F32", help="how a GGUF stores it")

    made = _command(commands, gguf, "a Hugging Face folder as a GGUF file", "file to write")
    made.add_argument("model", type=Path, help="Hugging Face folder")
    made.add_argument("--kind", choices=KINDS, default="F16", help="its weights (default F16)")

    made = _command(commands, folder, "a GGUF file as a Hugging Face folder", "folder to make")
    made.add_argument("model", type=Path, help="GGUF file")
    return parser


def _bundle_commands(commands) -> None:
    place = "folder to make (default: dist/phone/NAME)"
    made = _command(commands, bundle, "a verified phone bundle", place, required=False)
    made.add_argument("model", help="preset, GGUF file, Hugging Face folder or hub id")
    made.add_argument("--kind", choices=KINDS, help="weights of base.gguf (default: a GGUF as it is, else Q4_0)")
    made.add_argument("--onnx", choices=ONNX_WEIGHTS, help="add a model for ONNX Runtime with these weights")
    made.add_argument("--no-wheel", action="store_true", help="leave out the program and its installer")

    made = _command(commands, verify, "measure a bundle against its original and print a table")
    made.add_argument("bundle", type=Path, help="a bundle, or any folder with .gguf files")
    made.add_argument("--original", help="what it was made from (default: base.gguf itself, dequantized)")
    made.add_argument("--adapter", type=Path, help="also with this adapter: PEFT folder, .gguf or .onnx_adapter")


def _command(commands, run, help: str, output: str = "", required: bool = True) -> argparse.ArgumentParser:
    made = commands.add_parser(run.__name__, help=help, description=help)
    if output:
        made.add_argument("-o", "--output", type=Path, required=required, help=output)
    made.set_defaults(run=run)
    return made


def main(argv: list[str] | None = None) -> int:
    arguments = make_parser().parse_args(argv)
    # Libraries that fetch or report on their own stay quiet: what is wrong is said by us, once.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        arguments.run(arguments)
    except IdleTuneError as error:
        print(f"idletune-export: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nidletune-export: stopped; nothing half-written is left", file=sys.stderr)
        return 130
    return 0


def _new(path: Path):
    from .output import built_beside

    if path.exists():
        raise UsageError(f"{path} exists; name another place with -o")
    return built_beside(path)


if __name__ == "__main__":
    sys.exit(main())
