"""idletune-export: makes what a phone runs. For the developer's machine."""

import argparse
import sys
from pathlib import Path

from idletune.errors import IdleTuneError
from idletune.gguf_file import GgufFile
from idletune.training.shape import ModelShape


def graphs(arguments) -> None:
    from .training_graphs import export_training_graphs

    shape = ModelShape.of(GgufFile(arguments.model)).block
    export_training_graphs(shape, arguments.output)
    print(f"wrote the training graphs of a {shape.architecture} {shape.hidden} wide to {arguments.output}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="idletune-export", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("graphs", help="export the training graphs of a GGUF model's shape")
    command.add_argument("model", type=Path, help="GGUF file")
    command.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    command.set_defaults(run=graphs)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except IdleTuneError as error:
        print(f"idletune-export: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
