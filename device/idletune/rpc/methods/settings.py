"""Methods on settings: settings, describe_settings."""

from dataclasses import asdict

from ..schema import array, object_
from .declaration import Call, method


@method(
    "settings",
    (object_("values", "settings to change, by name; they are kept", required=False),),
    (
        object_("settings", "all of them"),
        array("at_next_open", "changed ones that wait for the next open"),
    ),
)
def settings(call: Call, values: dict | None = None) -> dict:
    """Get all settings, or change some. Changes are kept in the home; an error changes nothing."""
    if not values:
        return {"settings": asdict(call.shared.opened().settings), "at_next_open": []}
    with call.shared.model(call.client) as runtime:
        waiting = runtime.change_settings(values)
        return {"settings": asdict(runtime.settings), "at_next_open": waiting}


@method(
    "describe_settings",
    result=(
        array(
            "settings",
            "name, type (int, float, bool or str), value, default, help, choices (empty: any), least, most,"
            " at_next_open (whether a change waits for the next open)",
        ),
    ),
)
def describe_settings(call: Call) -> dict:
    """Every setting with its help, for a program that shows them to a person."""
    from ...runtime.described_settings import describe_settings as described
    from ...runtime.parts import AT_START

    known = described(call.shared.opened().settings)
    return {"settings": [{**each, "at_next_open": each["name"] in AT_START} for each in known]}
