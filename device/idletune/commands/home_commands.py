"""Commands on the state itself: forget, export, copies, erase, another key. They need no model."""

from datetime import datetime
from pathlib import Path

from .. import telemetry
from ..errors import UsageError
from ..learning.adapters import Adapters
from ..privacy import export_data, forget, forget_import, preview, preview_import
from ..schedule import termux
from ..state.copies import copies, erase_record
from ..state.home import check_home, erase, left_in, links_in
from ..state.imports import find
from ..state.keyring import make_key, read_key
from .options import home_of, settings_of, store_of
from .typed_text import read_line


def forget_set(arguments) -> None:
    if (arguments.id is None) == (arguments.source is None):
        raise UsageError("give the number of a dialogue set, or --source with that of an import")
    if arguments.source is not None:
        _forget_import(arguments)
        return
    with store_of(arguments) as store:
        if arguments.dry_run:
            print(f"would forget: {preview(store, arguments.id, arguments.descendants)}")
            return
        termux.dismiss(store.home)  # it may show what is forgotten
        report = forget(store, Adapters(store, base_sha256=""), arguments.id, arguments.descendants)
    print(f"forgotten: {report}")
    if report.dropped:
        print("what else the dropped adapters knew is learned anew")


def _forget_import(arguments) -> None:
    with store_of(arguments) as store:
        record = find(store, arguments.source)
        if arguments.dry_run:
            print(f"would forget import {record.id}: {preview_import(store, record.id, arguments.descendants)}")
            return
        termux.dismiss(store.home)
        report = forget_import(store, Adapters(store, base_sha256=""), record.id, arguments.descendants)
    print(f"forgotten import {record.id} ({record.name}): {report}")


def list_copies(arguments) -> None:
    """The files written outside of the home, or, with --erase-record, no record of them any more."""
    with store_of(arguments) as store:
        if arguments.erase_record:
            print(f"erased the record of {erase_record(store)} copies; the files are where they were")
            return
        for copy in copies(store):
            print(f"{datetime.fromtimestamp(copy.written):%Y-%m-%d %H:%M}  {copy.kind:8} {copy}")


def export_my_data(arguments) -> None:
    with store_of(arguments) as store:
        lines = export_data(store, arguments.out)
    print(f"{lines} records in {arguments.out}, not encrypted: keep it safe")


def erase_home(arguments) -> None:
    home = home_of(arguments)
    check_home(home)
    if not arguments.yes:
        try:
            answer = read_line(f"erase everything IdleTune keeps in {home}, for good? Type erase: ")
        except EOFError:
            answer = ""
        if answer.strip() != "erase":
            raise UsageError("nothing was erased; type erase, or give --yes")
    _remove_jobs(home)
    led_elsewhere = {path: path.resolve() for path in links_in(home)}
    print(f"erased {len(erase(home))} files in {home}")
    if left := telemetry.remove_files():
        print(f"and {len(left)} files that ONNX Runtime's telemetry once left in {left[0].parent}")
    for link, place in led_elsewhere.items():
        print(f"{link} was a link; what it led to is still there: {place}")
    for path in left_in(home):
        print(f"{path} is not of IdleTune's making and is still there")


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
