"""The command of a fleet: what was joined and spent, join, leave, take."""

from argparse import Namespace

from ..errors import UsageError
from ..fleet.terms import Terms, spent_text
from ..small_files import read_json_object
from ..state import fleet_records
from .options import open_runtime, store_of
from .typed_text import read_line


def fleet(arguments: Namespace) -> None:
    """Without an option, say which fleet was joined, on which terms, and what was spent."""
    if arguments.join:
        _join(arguments)
    elif arguments.leave:
        with store_of(arguments) as store:
            print("left; no update leaves this home" if fleet_records.leave(store) else "this home is in no fleet")
    elif arguments.take:
        with open_runtime(arguments) as runtime:
            adapter = runtime.fleet.take(arguments.take)
        before, after = adapter.losses["engine_serving"], adapter.losses["engine_adapted"]
        print(f"serving adapter {adapter.version}; your answers: {before:.3f} to {after:.3f} nats per token")
    else:
        _show(arguments)


def _join(arguments: Namespace) -> None:
    values = read_json_object(arguments.join, "a fleet's terms", "ask whoever runs the fleet for them")
    print(Terms.from_dict(values).told())
    if not arguments.yes and not _agrees():
        raise UsageError("not joined, nothing leaves this home; type yes, or give --yes")
    with open_runtime(arguments) as runtime:
        joined = runtime.fleet.join(values)
    print(f"joined {joined.fleet}; `idletune fleet --leave` ends it at once")


def _agrees() -> bool:
    try:
        return read_line("join? Type yes: ").strip().casefold() == "yes"
    except EOFError:
        return False


def _show(arguments: Namespace) -> None:
    with store_of(arguments) as store:
        found = fleet_records.current(store)
        terms = Terms.from_dict(found.terms) if found else None
        print(terms.told() if terms else "this home is in no fleet")
        print(spent_text(fleet_records.noise_multipliers(store), terms.delta if terms else 1e-5))
