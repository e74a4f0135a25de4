"""Every exchange and every answer says where it came from."""

import sqlite3

from idletune.state import schema
from idletune.state.origins import HOST, REPLAY, TERMINAL, client, notified, observed
from idletune.state.store import FILE_NAME, Store
from loop import observe, open_tiny_runtime


def test_an_exchange_and_its_answer_keep_their_doors(tiny_path, home):
    with open_tiny_runtime(tiny_path, home)() as runtime:
        observe(runtime, 1)
        runtime.chat("what is bread?", origin=TERMINAL)
        runtime.observe_exchange("what is a loaf?", "bread", origin=client("notes"))
        for origin in (TERMINAL, notified(HOST), client("notes")):
            prompt = runtime.next_prompt()
            runtime.queue.edit(prompt.id, "better", origin)
        kept = runtime.buffer.sets()
    assert [s.origin for s in kept] == [HOST, TERMINAL, observed(client("notes"))]
    assert {s.answer_origin for s in kept} == {TERMINAL, notified(HOST), client("notes")}
    assert REPLAY not in {s.origin for s in kept}


def test_an_accepted_reply_says_who_accepted_it(tiny_path, home):
    with open_tiny_runtime(tiny_path, home)() as runtime:
        observe(runtime, 1)
        runtime.queue.accept(runtime.next_prompt().id, client("notes"))
        assert [s.answer_origin for s in runtime.buffer.sets()] == ["client notes"]


def test_a_clients_name_is_cut_and_cleared():
    assert client("a\x1b[31m\n name\u202e") == "client a [31m name"
    assert client("") == client("\n") == "client unnamed"
    assert len(client("x" * 1000)) < 60


def test_a_home_of_an_earlier_version_opens_and_its_origins_are_unknown(home, monkeypatch):
    later = [m for m in schema.MIGRATIONS if m.__name__ >= "m008"]
    with monkeypatch.context() as earlier:
        earlier.setattr(schema, "MIGRATIONS", [m for m in schema.MIGRATIONS if m not in later])
        Store(home).close()
    with sqlite3.connect(home / FILE_NAME) as db:
        row = "(file, base_sha256, created, rank, alpha, targets, state, dialogue_set_ids)"
        db.execute(f"INSERT INTO adapters {row} VALUES ('a.gguf', 'x', 1, 4, 8, 'q', 'promoted', '[]')")
        db.execute(f"INSERT INTO adapters {row} VALUES ('b.gguf', 'y', 1, 4, 8, 'q', 'promoted', '[1]')")
    with Store(home) as store:
        assert [tuple(row) for row in store.rows("SELECT adopted, origins FROM adapters")] == [(1, "[]"), (0, "[]")]
