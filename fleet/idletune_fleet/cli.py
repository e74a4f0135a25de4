"""The command idletune-fleet: a fleet's folder, and Flower's own programs with the options that a fleet needs.

What it always asks of Flower: TLS, authenticated nodes, no telemetry, and no installation of packages by itself.
"""

import argparse
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idletune.errors import IdleTuneError
from idletune.fleet.privacy import multiplier_for

if TYPE_CHECKING:
    from .fleet_folder import FleetFolder

PORT, NODE_PORT = 9191, 9094
CONNECTION = "fleet"
# What was measured to be worth it (docs/fleet.md): noise drowns what an adapter of the usual form learns.
PLAIN = {"rounds": 8, "clip": 5.0, "learning_rate": 1.6e-3}
WITH_NOISE = {
    "rounds": 1,
    "clip": 10.0,
    "learning_rate": 0.3,
    "targets": "down",
    "rank": 1,
    "alpha": 2.0,
    "top_share": 0.14,
}
MOST_NOISE = 3.0  # clipping norms of noise in an average, up to which fleets were measured to be worth it
# Flower's programs look for others of theirs on the path.
ENVIRONMENT = {"FLWR_TELEMETRY_ENABLED": "0", "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}


def main(given: list[str] | None = None) -> int:
    """Returns the exit code: 2 for wrong use."""
    arguments = make_parser().parse_args(given)
    try:
        arguments.run(arguments)
    except (ImportError, FileNotFoundError) as error:
        print(f"idletune-fleet: {error}; pip install 'idletune[fleet]'", file=sys.stderr)
        return 2
    except IdleTuneError as error:
        print(f"idletune-fleet: {error}", file=sys.stderr)
        return 2
    return 0


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="idletune-fleet", description="Averages over phones, on Flower.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("new", help="make a fleet's folder: its terms, its keys, its certificate")
    command.set_defaults(run=new)
    command.add_argument("folder", type=Path)
    command.add_argument("--base", type=Path, required=True, help="the base model that all its phones have")
    command.add_argument("--name", required=True, help="the fleet's name")
    command.add_argument("--operator", required=True, help="who runs it, for its users to read")
    command.add_argument("--host", default="127.0.0.1", help="where its server will be reached (default 127.0.0.1)")
    command.add_argument("--phones", type=int, required=True, help="phones that take part in a round")
    command.add_argument(
        "--rounds", type=int, help="rounds in all (default 8; with noise 1: more cost more noise each)"
    )
    command.add_argument("--clip", type=float, help="longest update, as a Euclidean norm (default 5; with noise 10)")
    command.add_argument("--epsilon", type=float, default=0.0, help="privacy of a phone over all rounds; 0 = no noise")
    command.add_argument("--tell-loss", action="store_true", help="phones tell the loss of their held-out answers")
    command.add_argument("--pause", type=float, default=600.0, help="seconds until phones are asked again")
    for name in ("targets", "rank", "alpha", "top_share", "epochs", "learning_rate"):
        kind = str if name == "targets" else int if name in ("rank", "epochs") else float
        command.add_argument(f"--{name.replace('_', '-')}", type=kind, help="of the shared adapter and its training")
    command = commands.add_parser("serve", help="run the server (flower-superlink)")
    command.set_defaults(run=serve)
    command.add_argument("folder", type=Path)
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    command.add_argument("--port", type=int, default=PORT)
    command = commands.add_parser("node-key", help="make the key of a user's computer: FILE and FILE.pub")
    command.set_defaults(run=node_key)
    command.add_argument("file", type=Path)
    command = commands.add_parser("node", help="run a user's computer's part (flower-supernode)")
    command.set_defaults(run=node)
    command.add_argument("--server", required=True, help="host:port of the fleet's server")
    command.add_argument("--certificate", type=Path, required=True, help="the fleet's certificate, ca.pem")
    command.add_argument("--key", type=Path, required=True, help="the key that node-key made")
    command.add_argument("--phone", type=Path, required=True, help="the phone's socket (idletune serve --fleet-socket)")
    command.add_argument("--port", type=int, default=NODE_PORT, help="for its own parts, on this machine alone")
    command = commands.add_parser("register", help="let a user's computer in, by its public key (flwr supernode)")
    command.set_defaults(run=lambda a: flwr(a.folder, "supernode", "register", str(a.key), CONNECTION))
    command.add_argument("folder", type=Path)
    command.add_argument("key", type=Path, help="FILE.pub")
    command = commands.add_parser("run", help="run the rounds that are left (flwr run)")
    command.set_defaults(run=lambda a: flwr(a.folder, "run", str(a.folder / "app"), CONNECTION))
    command.add_argument("folder", type=Path)
    return parser


def new(arguments: Namespace) -> None:
    """A fleet's folder, and what to do with it."""
    from .fleet_folder import FleetFolder
    from .keys import make_certificate

    delta = 1e-5
    names = ("rounds", "clip", "targets", "rank", "alpha", "top_share", "epochs", "learning_rate")
    form: dict[str, Any] = dict(WITH_NOISE if arguments.epsilon else PLAIN)
    form |= {name: value for name in names if (value := getattr(arguments, name)) is not None}
    noise = multiplier_for(arguments.epsilon, delta, form["rounds"]) if arguments.epsilon else 0.0
    terms = {
        "fleet": arguments.name,
        "operator": arguments.operator,
        "phones": arguments.phones,
        "clipping_norm": form.pop("clip"),
        "noise_multiplier": noise,
        "epsilon": arguments.epsilon,
        "delta": delta,
        "tell_loss": arguments.tell_loss,
        **form,
    }
    folder = FleetFolder.make(arguments.folder, arguments.base, terms, arguments.pause)
    make_certificate(folder.path, arguments.host)
    print(folder.terms.told())
    _tell_noise(folder)
    print(f"give {folder.path / 'terms.json'} and {folder.path / 'ca.pem'} to the users; keep the rest to yourself")


def _tell_noise(folder: "FleetFolder") -> None:
    """Say so where the fleet is too small for its noise."""
    from idletune.fleet.shared import b_of

    from .bounds import noise_of_average

    length = noise_of_average(folder.terms, len(b_of(folder.lora())))
    if length > MOST_NOISE:
        print(
            f"the average of {folder.terms.phones} phones will carry noise of {length:.1f} clipping norms, and what"
            f" they learn is one at most: fleets were worth it up to {MOST_NOISE:g} (docs/fleet.md); more phones, or a"
            " larger --epsilon, lower it"
        )


def serve(arguments: Namespace) -> None:
    """Flower's server takes the place of this process."""
    folder, (host, port) = arguments.folder, (arguments.host, arguments.port)
    _write_connection(folder, f"{'127.0.0.1' if host == '0.0.0.0' else host}:{port}")
    certificates = {"certfile": "server.pem", "keyfile": "server.key", "ca-certfile": "ca.pem"}
    options = [part for name, file in certificates.items() for part in (f"--ssl-{name}", str(folder / file))]
    options += ["--enable-supernode-auth", "--disable-runtime-dependency-installation"]
    options += ["--database", str(folder / "flower.db"), "--host", host, "--port", str(port)]
    _become("flower-superlink", options, {"FLWR_HOME": str(folder / "flower")})


def node_key(arguments: Namespace) -> None:
    """Two files: the key stays, the public one goes to whoever runs the fleet."""
    from .keys import make_node_key

    print(f"send {make_node_key(arguments.file)} to whoever runs the fleet; {arguments.file} stays here")


def node(arguments: Namespace) -> None:
    """Flower's node takes the place of this process."""
    options = ["--superlink", arguments.server, "--root-certificates", str(arguments.certificate)]
    options += ["--auth-supernode-private-key", str(arguments.key), "--port", str(arguments.port)]
    options += ["--node-config", f'phone="{arguments.phone.resolve()}"']
    _become("flower-supernode", options, {"FLWR_HOME": f"{arguments.key.resolve()}.flower"})


def flwr(folder: Path, *arguments: str) -> None:
    """Flower's command, with the connection to this fleet's server."""
    _become("flwr", list(arguments), {"FLWR_HOME": str(folder / "flower")})


def _write_connection(folder: Path, address: str) -> None:
    home = folder / "flower"
    home.mkdir(exist_ok=True)
    certificate = (folder / "ca.pem").resolve()
    lines = ["[superlink]", f'default = "{CONNECTION}"', "", f"[superlink.{CONNECTION}]", f'address = "{address}"']
    lines += [f'root-certificates = "{certificate}"', ""]
    (home / "config.toml").write_text("\n".join(lines), encoding="utf-8")


def _become(program: str, options: list[str], environment: dict[str, str]) -> None:
    os.execvpe(program, [program, *options], {**os.environ, **ENVIRONMENT, **environment})
