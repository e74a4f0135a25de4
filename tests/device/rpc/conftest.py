"""An open dispatcher over the tiny model."""

import pytest
from idletune.rpc import Dispatcher
from idletune.schedule import state_sources
from rpc_caller import CHANGED, Caller


class Opened:
    """`call(method, **params)` gives results; `open(**settings)` opens the tiny model in `home`."""

    def __init__(self, dispatcher: Dispatcher, model, home):
        self.dispatcher, self.model, self.home = dispatcher, model, home
        self.call = Caller(dispatcher.handle)

    def open(self, **settings) -> dict:
        return self.call("open", model=str(self.model), home=str(self.home), settings={**CHANGED, **settings})

    def answered(self, count: int) -> None:
        """Exchanges, each with the user's answer."""
        for i in range(count):
            self.call("observe", question=f"question number {i} about bread", response="a reply")
        while due := self.call("prompts")["prompts"]:
            self.call("answer", prompt_id=due[0]["id"], shown=due[0]["shown"], verdict="edit", text="aaaa aaaa aaaa")


@pytest.fixture
def opened(tiny_path, home, monkeypatch):
    monkeypatch.setattr(state_sources, "HOST_FRESH_SECONDS", 3600.0)  # no test reports the state again and again
    home.mkdir(mode=0o700)
    dispatcher = Dispatcher()
    yield Opened(dispatcher, tiny_path, home)
    dispatcher.close()
