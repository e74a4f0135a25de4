"""Import over the dispatcher: by path and by upload, in turns with whoever chats, cancelled, forgotten."""

import base64
import threading

import pytest
from chat_samples import SAMPLES, WHATSAPP, lines
from idletune.rpc import Dispatcher
from idletune.rpc import uploads as module
from idletune.rpc.events import EventQueue
from rpc_caller import CHANGED, Caller, Failed, in_thread


@pytest.fixture
def opened(tiny_path, home):
    dispatcher = Dispatcher()
    call = Caller(dispatcher.handle)
    call("open", model=str(tiny_path), home=str(home), settings={**CHANGED, "import_share": 1.0})
    yield call, dispatcher
    dispatcher.close()


def uploaded(call, data: bytes, name="talk") -> int:
    first = call("upload", data=base64.b64encode(data[:7]).decode(), name=name)
    second = call("upload", data=base64.b64encode(data[7:]).decode(), upload=first["upload"])
    assert second == {"upload": first["upload"], "bytes": len(data)}
    return first["upload"]


def test_an_upload_is_previewed_imported_and_let_go(opened):
    call, dispatcher = opened
    number = uploaded(call, SAMPLES["chatgpt"][0], "conversations.json")
    found = call("import_preview", upload=number)
    assert (found["name"], found["format"], found["exchanges"]) == ("conversations.json", "a ChatGPT export", 4)
    assert found["examples"][0]["question"] == "How long does rye bread rise?" and found["skipped"][0]["count"] == 2
    done = call("import", upload=number, mode="stream")
    assert done == {"id": 1, "name": "conversations.json", "taken": 4, "kept": 4, "finished": True}
    (record,) = call("imports")["imports"]
    assert (record["mode"], record["kept"]) == ("stream", 4) and record["finished"]
    with pytest.raises(Failed, match="no upload 1 of this client"):
        call("import", upload=number)
    events = iter(lambda: dispatcher.next_event(0), b"")
    assert any(b'"event.import"' in event and b'"total":4' in event for event in events)


def test_a_path_and_who_is_who(opened, tmp_path):
    call, _ = opened
    path = tmp_path / "chat.txt"
    path.write_text(WHATSAPP)
    assert call("import_preview", path=str(path))["people"] == ["Anna", "Ben Lee"]
    found = call("import_preview", path=str(path), me="Ben Lee")
    assert found["people"] == [] and found["exchanges"] == 2 and found["first"] < found["last"]
    assert call("import", path=str(path), me="Ben Lee")["kept"] == 2
    gone = call("forget_import", id=1, dry_run=True)
    assert gone["sets"] == [1, 2] == call("forget_import", id=1)["sets"]
    assert call("imports")["imports"] == []


@pytest.mark.parametrize(
    "params, said",
    [
        ({}, "either parameter path or parameter upload"),
        ({"path": "a", "upload": 1}, "either parameter path or parameter upload"),
        ({"path": "/nowhere/x"}, "no conversation file at"),
        ({"upload": 9}, "no upload 9 of this client"),
        ({"path": "x", "format": "excel"}, "takes one of idletune, chatgpt"),
    ],
)
def test_what_names_no_file(opened, params, said):
    for name in ("import_preview", "import"):
        with pytest.raises(Failed, match=said):
            opened[0](name, **params)


def test_of_a_malformed_upload_nothing_is_kept(opened):
    call, dispatcher = opened
    number = uploaded(call, lines({"question": "a", "response": "b"}) + b"{oops\n")
    for name in ("import_preview", "import"):
        with pytest.raises(Failed, match="line 2: not valid JSON"):
            call(name, upload=number)
    assert call("imports")["imports"] == [] and not len(dispatcher.shared.opened().buffer)


def test_uploads_are_bounded_and_a_clients_own(opened, monkeypatch):
    call, dispatcher = opened
    monkeypatch.setattr(module, "LARGEST_UPLOADS", 10)
    with pytest.raises(Failed, match="give the file by its path"):
        call("upload", data=base64.b64encode(b"x" * 11).decode())
    with pytest.raises(Failed, match="not Base64"):
        call("upload", data="~")
    number = call("upload", data=base64.b64encode(b"x" * 9).decode())["upload"]
    other = dispatcher.clients.connect(EventQueue("client other"))
    theirs = Caller(lambda request: dispatcher.handle(request, other))
    with pytest.raises(Failed, match="no upload .* of this client"):
        theirs("import_preview", upload=number)
    request = dispatcher.clients.request_of(dispatcher.host, EventQueue())  # over HTTP each request is a client
    mine = Caller(lambda sent: dispatcher.handle(sent, request))
    assert mine("upload", data="", upload=number)["bytes"] == 9
    dispatcher.leave(request)
    assert call("upload", data="", upload=number)["bytes"] == 9
    for _ in range(module.MOST_UPLOADS + 3):
        theirs("upload", data="")
    assert len(dispatcher.uploads.held) == module.MOST_UPLOADS + 1
    dispatcher.leave(other)
    assert len(dispatcher.uploads.held) == 1


def test_an_import_lets_others_go_first_and_is_cancelled(opened, monkeypatch):
    call, dispatcher = opened
    monkeypatch.setattr("idletune.rpc.methods.imports.STEP_SECONDS", 0.0)
    began, go_on, own = threading.Event(), threading.Event(), dispatcher.shared.opened().model.embed_exchange

    def slow(*arguments):
        began.set()
        go_on.wait(60)
        return own(*arguments)

    monkeypatch.setattr(dispatcher.shared.opened().model, "embed_exchange", slow)
    records = [{"question": f"question {n}", "response": "answer"} for n in range(30)]
    number = uploaded(call, lines(*records))
    result = in_thread(lambda: call("import", upload=number))
    assert began.wait(60)
    other = dispatcher.clients.connect(EventQueue("client other"))
    theirs = Caller(lambda request: dispatcher.handle(request, other))
    chat = in_thread(lambda: theirs("chat", text="hello"))
    cancelled = in_thread(lambda: call("cancel"))()
    go_on.set()
    assert cancelled["cancelled"] == ["import"] and chat()["text"] is not None
    done = result()
    assert not done["finished"] and done["taken"] < 30
    assert call("import", upload=number)["taken"] == 30 - done["taken"]
