"""Commands on the state itself: forget, export, erase, another key. They need no model."""

from pathlib import Path

from ..errors import UsageError
from ..learning.adapters import Adapters
from ..schedule import termux
from ..state.home import check_home, erase, links_in
from ..state.keyring import make_key, read_key
from ..state.privacy import export_data, forget
from .given import home_of, settings_of, store_of


def forget_set(arguments) -> None:
    with store_of(arguments) as store:
        termux.take_down(store.home)  # it may show what is forgotten
        dropped = forget(store, Adapters(store, base_sha256=""), arguments.id)
    versions = f", and adapter {', '.join(map(str, dropped))} with it; the rest is learned anew" if dropped else ""
    print(f"forgotten{versions}")


def export_my_data(arguments) -> None:
    with store_of(arguments) as store:
        lines = export_data(store, arguments.out)
    print(f"{lines} records in {arguments.out}, not encrypted: keep it safe")


def erase_home(arguments) -> None:
    home = home_of(arguments)
    check_home(home)
    if not arguments.yes:
        try:
            answer = input(f"erase everything IdleTune keeps in {home}, for good? Type erase: ")
        except EOFError:
            answer = ""
        if answer.strip() != "erase":
            raise UsageError("nothing was erased; type erase, or give --yes")
    _remove_jobs(home)
    led_elsewhere = {path: path.resolve() for path in links_in(home)}
    print(f"erased {len(erase(home))} files in {home}")
    for link, place in led_elsewhere.items():
        print(f"{link} was a link; what it led to is still there: {place}")


def _remove_jobs(home: Path) -> None:
    """The jobs in Termux would start missing scripts for ever. That they cannot be removed keeps nothing from going."""
    if termux.is_installed(home):
        try:
            termux.remove(home)
        except UsageError as error:
            print(f"the jobs in Termux are still there ({error}); then: idletune termux remove")


def rotate_key(arguments) -> None:
    new, settings = arguments.new_key_file, settings_of(arguments)
    with store_of(arguments) as store:  # first of all the old key must be right
        store.rotate_key(read_key(new) if new.exists() else make_key(new))
    print(f"encrypted with the key in {new}; without it nothing can be read: keep a copy elsewhere")
    if settings.key_file != str(new):
        print(f"from now on give --key-file {new}, or put key_file into {home_of(arguments) / 'settings.json'}")
    if termux.is_installed(home_of(arguments)):
        print(f"the jobs in Termux still have the old key: idletune termux install --key-file {new}")
