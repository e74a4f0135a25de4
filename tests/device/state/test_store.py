"""The database: what it keeps, what it undoes, and what it says to a file it cannot trust."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest
from idletune.clock import Moment
from idletune.errors import DamagedDataError, StorageError, UsageError
from idletune.state import schedule_records, schema, set_records
from idletune.state.comparisons import compared_sets
from idletune.state.event_log import events
from idletune.state.schedule_records import SliceRow
from idletune.state.store import FILE_NAME, Store
from idletune.state.verdicts import DroppedRow, VerdictRow, dropped_since_verdict, newest_verdict

NEW_SET = (
    "INSERT INTO dialogue_sets (created, domain, eoe, dss, idd, embedding, question, reply)"
    " VALUES (1, 'work', 0.5, 0.5, 0.5, x'00', ?, 'reply')"
)
ANSWERS = "SELECT * FROM dialogue_sets ORDER BY id"


@pytest.fixture
def home(tmp_path):
    return tmp_path / "deep" / "home"


@pytest.fixture
def store(home):
    with Store(home, clock=lambda: 1000.0) as opened:
        yield opened


def add_set(store, question="question"):
    with store.transaction() as db:
        return db.execute(NEW_SET, (question,)).lastrowid


def test_home_is_for_its_owner_only(store, home):
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert store.path == home / FILE_NAME and store.path.is_file()


def test_an_existing_home_of_ours_is_closed_to_others(tmp_path):
    home = tmp_path / "mine"
    home.mkdir(mode=0o755)
    (home / "settings.json").write_text("{}")
    Store(home).close()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_folder_of_others_that_is_open_to_all_is_refused_untouched(tmp_path):
    (tmp_path / "shared").mkdir(mode=0o755)
    (tmp_path / "shared" / "photo.jpg").touch()
    with pytest.raises(UsageError, match=r"holds other files \(photo.jpg\) and no idletune.db"):
        Store(tmp_path / "shared")
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o755


def test_a_home_that_others_put_files_into_is_not_closed_to_them(home):
    Store(home).close()
    (home / "photo.jpg").touch()
    home.chmod(0o755)
    with pytest.raises(UsageError, match=r"mode 0755 and holds other files \(photo.jpg\).*chmod 700"):
        Store(home)
    home.chmod(0o700)
    Store(home).close()


def test_a_file_for_a_home_is_refused(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UsageError, match="name a folder"):
        Store(tmp_path / "file")


def test_settings_of_the_connection(store):
    def pragma(name):
        return store.rows(f"PRAGMA {name}")[0][0]

    assert pragma("journal_mode") == "wal"
    assert pragma("synchronous") == 2  # FULL
    assert pragma("foreign_keys") == 1
    assert pragma("secure_delete") == 1
    assert pragma("busy_timeout") == 10_000


def test_migrations_are_recorded_by_name(store):
    rows = store.rows("SELECT name, at FROM idletune_migrations")
    assert [tuple(row) for row in rows] == [(migration.__name__, 1000.0) for migration in schema.MIGRATIONS]


def test_reopening_keeps_everything_and_migrates_nothing_twice(home):
    with Store(home, clock=lambda: 1.0) as store:
        add_set(store)
    with Store(home, clock=lambda: 2.0) as store:
        assert store.rows("SELECT question FROM dialogue_sets")[0][0] == "question"
        assert store.rows("SELECT at FROM idletune_migrations")[0][0] == 1.0


def test_an_appended_migration_runs_once(home, monkeypatch):
    Store(home).close()

    def m999_mood(db):
        db.execute("ALTER TABLE dialogue_sets ADD COLUMN mood TEXT")

    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, m999_mood])
    Store(home).close()
    with Store(home) as store:
        assert len(store.rows("SELECT * FROM idletune_migrations")) == len(schema.MIGRATIONS)
        store.rows("SELECT mood FROM dialogue_sets")


EARLIER_ROWS = (
    "INSERT INTO dialogue_sets (id, created, domain, eoe, dss, idd, embedding, question, reply, response, answered_at)"
    " VALUES (1, 1, 'work', 0.5, 0.5, 0.5, x'00', 'who wrote this?', 'reply', 'I did', 2)",
    NEW_SET.replace("?", "'and this?'"),
    NEW_SET.replace("?", "'and that?'"),
    "INSERT INTO prompts (dialogue_set_id, state, asked_at, answered_at) VALUES (1, 'edited', 1, 2)",
    "INSERT INTO prompts (dialogue_set_id) VALUES (2)",
    "INSERT INTO adapters (file, base_sha256, created, rank, alpha, targets, dialogue_set_ids, state)"
    " VALUES ('a.gguf', 'base', 1, 8, 16, 'q,v', '[1]', 'promoted')",
    "UPDATE dialogue_sets SET learned_in = 1 WHERE id = 1",
    "INSERT INTO counters VALUES ('seen', 5), ('forgotten', 1), ('forgotten 17', 1), ('paraphrased 2', 1),"
    " ('embeddings due up to', 2), ('embeddings refreshed up to', 1)",
    """INSERT INTO events (at, kind, detail) VALUES
    (1, 'window', '{"open": true, "code": "open", "reason": "", "wall": 1.0, "uptime": 0.5, "boot": "b"}'),
    (2, 'slice', '{"wall": 2.0, "uptime": 1.5, "boot": "b"}'),
    (3, 'slice', '{"wall": 3.0, "uptime": 2.5, "boot": "b"}'),
    (4, 'clock', '{"moved_seconds": 900, "wall": 4.0, "uptime": 3.5, "boot": "b"}'),
    (5, 'slice_end', '{"seconds": 2.0, "outcome": "ok", "stopped_by": null, "wall": 5.0, "uptime": 4.5, "boot": "b"}'),
    (6, 'gate', '{"version": 1, "promoted": true, "reason": "better"}'),
    (7, 'dropped', '{"version": 1, "reason": "rolled back"}'),
    (8, 'review', '{"version": 1, "before": null, "answers": 1, "worse": 0.1, "error": 0.2, "rolled_back": false,
        "sets": [1]}'),
    (9, 'checkpoint', '{"problem": "damaged"}'),
    (10, 'slice', 'damaged'), (11, 'gate', '{"version": "one"}'), (12, 'review', '{"version": 1, "sets": ["a"]}'),
    (13, 'window', '{"code": 7}'), (-1, 'slice', '{}'), (1e400, 'dropped', '{"version": 1}')""",
)


def earlier_home(home, count):
    """A home as the first `count` migrations left it, with a row of every kind."""
    home.mkdir(parents=True, mode=0o700)
    with sqlite3.connect(home / FILE_NAME) as db:
        db.row_factory = sqlite3.Row
        db.execute("CREATE TABLE idletune_migrations (name TEXT PRIMARY KEY, at REAL)")
        for migration in schema.MIGRATIONS[:count]:
            migration(db)
            db.execute("INSERT INTO idletune_migrations VALUES (?, 1)", (migration.__name__,))
            if migration is schema.m001_initial:
                for statement in EARLIER_ROWS:
                    db.execute(statement)
    db.close()


@pytest.mark.slow
@pytest.mark.parametrize("count", range(1, len(schema.MIGRATIONS)))
@pytest.mark.parametrize("key", [None, b"k" * 32], ids=["plain", "encrypted"])
def test_a_home_of_every_earlier_version_opens(home, count, key):
    earlier_home(home, count)
    with Store(home, key=key) as store:
        first, *_ = [store.decrypt("dialogue_sets", row["id"], row) for row in store.rows(ANSWERS)]
        assert (first["question"], first["response"], first["learned_in"]) == ("who wrote this?", "I did", 1)
        prompts = store.rows("SELECT dialogue_set_id, state, asked_at FROM prompts ORDER BY id")
        assert [tuple(row) for row in prompts] == [(1, "edited", 1.0), (2, "pending", None)]
        adapter = store.row("SELECT state, dialogue_set_ids FROM adapters")
        assert tuple(adapter) == ("promoted", "[1]")
        assert (store.counter("seen"), store.counter("forgotten")) == (5, 1)
        assert [set_records.any_forgotten(store, [id]) for id in (1, 17)] == [False, True]
        assert [set_records.is_paraphrased(store, id) for id in (1, 2)] == [False, True]
        assert set_records.embeddings_due(store) == [2]
        assert not store.rows("SELECT name FROM counters WHERE name GLOB '* *'")
        assert len(store.rows("SELECT * FROM idletune_migrations")) == len(schema.MIGRATIONS)
        check_decisions(store)


def check_decisions(store):
    """What was an event and is read by decisions stands in tables; nothing but the log is left in the log."""
    first, second, damaged = schedule_records.slices(store)
    assert (first.start, first.end) == (Moment(2.0, 1.5, "b"), None)
    assert second == SliceRow(Moment(3.0, 2.5, "b"), Moment(5.0, 4.5, "b"), 2.0, "ok", None)
    assert (damaged.start, damaged.end) == (Moment(10.0, 0.0, ""), None)
    assert schedule_records.last_code(store) == "open"
    assert schedule_records.last_jump(store) == Moment(4.0, 3.5, "b")
    assert [moment.wall for moment in schedule_records.moments(store)] == [1, 2, 3, 4, 5, 10]
    assert newest_verdict(store) == VerdictRow(1, 6.0, 1, True, False, "better")
    assert dropped_since_verdict(store) == DroppedRow(7.0, 1, "rolled back")
    assert compared_sets(store, 1) == [1]
    assert [event.kind for event in events(store)] == ["checkpoint"]


def test_a_failing_migration_leaves_no_trace(home, monkeypatch):
    Store(home).close()

    def m002_broken(db):
        db.execute("CREATE TABLE half (a)")
        raise RuntimeError("no")

    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, m002_broken])
    with pytest.raises(RuntimeError):
        Store(home)
    monkeypatch.undo()
    with Store(home) as store:
        assert not store.rows("SELECT name FROM sqlite_master WHERE name = 'half'")


def test_state_from_the_future_is_refused_untouched(home):
    with Store(home) as store, store.transaction() as db:
        db.execute("INSERT INTO idletune_migrations VALUES ('m999_telepathy', 0)")
    with pytest.raises(DamagedDataError, match=r"newer version \(m999_telepathy\); upgrade IdleTune"):
        Store(home)


@pytest.mark.parametrize("content", [b"this is no database, but it is long enough" * 50, b"\x00" * 4096])
def test_a_file_that_is_not_sqlite(home, content):
    home.mkdir(parents=True)
    (home / FILE_NAME).write_bytes(content)
    with pytest.raises(DamagedDataError, match="move it away to start anew"):
        Store(home)
    assert (home / FILE_NAME).read_bytes() == content, "the evidence must stay as it was"


def test_another_programs_database_is_refused_untouched(home):
    home.mkdir(parents=True)
    with sqlite3.connect(home / FILE_NAME) as db:
        db.execute("CREATE TABLE recipes (name)")
    before = (home / FILE_NAME).read_bytes()
    with pytest.raises(DamagedDataError, match="another program's"):
        Store(home)
    assert (home / FILE_NAME).read_bytes() == before


def filled(home):
    with Store(home) as store:
        for number in range(50):
            add_set(store, f"question {number} " * 200)
    return home / FILE_NAME


def test_a_truncated_file(home):
    path = filled(home)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DamagedDataError, match="put a backup in its place"):
        Store(home)


def test_overwritten_pages(home):
    path = filled(home)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8 * 4096)
    with pytest.raises(DamagedDataError, match="put a backup in its place"):
        Store(home)


def test_one_lost_page_among_many(home):
    path = filled(home)
    with sqlite3.connect(path) as db:
        page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'prompts_asked_at'").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\x00" * 4096)
    with pytest.raises(DamagedDataError, match="put a backup in its place"):
        Store(home)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE sqlite_sequence SET seq = NULL WHERE name = 'dialogue_sets'",
        "UPDATE sqlite_sequence SET seq = 'many' WHERE name = 'dialogue_sets'",
        "UPDATE sqlite_sequence SET seq = 0 WHERE name = 'dialogue_sets'",
        "DELETE FROM sqlite_sequence WHERE name = 'dialogue_sets'",
        "UPDATE idletune_migrations SET name = x'ff00' WHERE name = 'm002_rounds'",
        "INSERT INTO data_keys (id, wrapped) VALUES (1, 'text')",
        "INSERT INTO counters (name, value) VALUES ('seen', 0.5)",
    ],
)
def test_what_sqlite_lets_stand_and_no_program_wrote(home, damage):
    with Store(home) as store:
        add_set(store)
        store.db.execute(damage)
    with pytest.raises(DamagedDataError):
        Store(home, key=b"k" * 32)


def test_text_that_is_no_longer_text(store):
    with store.transaction() as db:
        db.execute(NEW_SET.replace("'reply'", "CAST(x'ff' AS TEXT)"), ("question",))
    with pytest.raises(DamagedDataError, match="decode"):
        store.rows("SELECT reply FROM dialogue_sets")


def test_a_transaction_is_all_or_nothing(store):
    with pytest.raises(ZeroDivisionError), store.transaction():
        add_set(store)
        store.count("seen")
        1 / 0
    assert store.counter("seen") == 0
    assert not store.rows("SELECT * FROM dialogue_sets")


def test_an_inner_transaction_is_undone_alone(store):
    with store.transaction():
        store.count("outer")
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), store.transaction():
                store.count("inner")
                1 / 0
        store.count("outer")
    assert (store.counter("outer"), store.counter("inner")) == (2, 0)


def test_an_outer_transaction_takes_the_inner_with_it(store):
    with pytest.raises(ZeroDivisionError), store.transaction():
        with store.transaction():
            store.count("inner")
        1 / 0
    assert store.counter("inner") == 0
    assert store.rollbacks == 1


def test_nothing_is_committed_before_the_outermost_block_ends(store, home):
    with Store(home) as other:
        with store.transaction():
            store.count("seen")
            assert other.counter("seen") == 0
        assert other.counter("seen") == 1


def test_a_writer_that_holds_on_is_reported(store, home):
    with Store(home, busy_seconds=0.05) as other, store.transaction():
        with pytest.raises(StorageError, match="another IdleTune is writing"):
            other.count("seen")


def test_a_full_disk_is_reported_and_undone(store):
    store.rows("PRAGMA max_page_count = 30")
    with pytest.raises(StorageError, match="free some storage"), store.transaction():
        store.count("seen")
        for number in range(1000):
            add_set(store, f"question {number}" * 100)
    assert store.counter("seen") == 0
    assert store.count("seen") == 1, "and the store goes on working"


def test_our_own_faults_are_not_blamed_on_the_user(store):
    with pytest.raises(sqlite3.OperationalError):
        store.rows("SELECT * FROM no_such_table")
    with pytest.raises(sqlite3.IntegrityError), store.transaction() as db:
        db.execute("INSERT INTO prompts (dialogue_set_id) VALUES (77)")


def test_threads_share_the_store(store):
    def work():
        for _ in range(50):
            with store.transaction():
                value = store.counter("seen")
                store.count("seen")
                assert store.counter("seen") == value + 1, "another thread came in between"

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.counter("seen") == 200


@pytest.mark.slow
def test_processes_may_open_a_new_home_at_once(home):
    program = (
        "import sys\n"
        "from idletune.state.store import Store\n"
        "print('ready', flush=True), sys.stdin.read()\n"
        "Store(sys.argv[1], busy_seconds=120).count('opened')\n"
    )
    command, pipes = [sys.executable, "-c", program, str(home)], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen(command, **pipes) for _ in range(6)]
    for process in processes:
        process.stdout.readline()
    for process in processes:  # all are loaded now: they open it at once
        process.stdin.close()
    assert [process.wait() for process in processes] == [0] * 6
    with Store(home) as store:
        assert store.counter("opened") == 6


def test_counters(store):
    assert store.counter("seen") == 0
    assert store.count("seen") == 1
    assert store.count("seen", by=4) == 5
    assert store.counter("other") == 0


def test_a_deleted_set_takes_its_pending_prompt_and_synthetic_sets(store):
    gone, kept = add_set(store), add_set(store)
    with store.transaction() as db:
        for id in (gone, kept):
            db.execute("INSERT INTO prompts (dialogue_set_id) VALUES (?)", (id,))
            db.execute("INSERT INTO synthetic_sets VALUES (NULL, ?, 0.5, 'q', 'r')", (id,))
        db.execute("DELETE FROM dialogue_sets WHERE id = ?", (gone,))
    assert [row[0] for row in store.rows("SELECT dialogue_set_id FROM prompts")] == [kept]
    assert [row[0] for row in store.rows("SELECT dialogue_set_id FROM synthetic_sets")] == [kept]


def test_a_shown_prompt_outlives_its_set_without_a_word_of_it(store):
    id = add_set(store)
    with store.transaction() as db:
        db.execute("INSERT INTO prompts (dialogue_set_id, state, asked_at) VALUES (?, 'shown', 5)", (id,))
        db.execute("DELETE FROM dialogue_sets WHERE id = ?", (id,))
    (row,) = store.rows("SELECT dialogue_set_id, asked_at FROM prompts")
    assert tuple(row) == (None, 5.0)


def test_an_id_is_never_used_twice(store):
    first = add_set(store)
    with store.transaction() as db:
        db.execute("DELETE FROM dialogue_sets")
    assert add_set(store) > first


def add_adapter(store, state, base="base"):
    with store.transaction() as db:
        return db.execute(
            "INSERT INTO adapters (file, base_sha256, created, rank, alpha, targets, state)"
            " VALUES ('a.gguf', ?, 1, 8, 16, 'q,v', ?)",
            (base, state),
        ).lastrowid


def test_one_adapter_is_promoted_for_a_base_model(store):
    add_adapter(store, "promoted")
    add_adapter(store, "retired")
    add_adapter(store, "promoted", base="another")
    with pytest.raises(sqlite3.IntegrityError):
        add_adapter(store, "promoted")
    with pytest.raises(sqlite3.IntegrityError):
        add_adapter(store, "excellent")


def test_a_deleted_adapter_leaves_its_sets_to_be_learned_again(store):
    id, version = add_set(store), add_adapter(store, "candidate")
    with store.transaction() as db:
        db.execute("UPDATE dialogue_sets SET learned_in = ? WHERE id = ?", (version, id))
        db.execute("DELETE FROM adapters")
    assert store.rows("SELECT learned_in FROM dialogue_sets")[0][0] is None


def test_scrubbed_text_is_in_no_file(store, home):
    add_set(store, "a secret " * 1000)
    files = [home / FILE_NAME, home / (FILE_NAME + "-wal")]
    with store.transaction() as db:
        db.execute("DELETE FROM dialogue_sets")
    assert any(b"a secret" in file.read_bytes() for file in files), "or this test proves nothing"
    store.scrub()
    assert not any(b"a secret" in file.read_bytes() for file in files)


def test_scrubbed_text_is_in_no_file_after_it_had_reached_the_database(store, home):
    add_set(store, "a secret " * 1000)
    store.scrub()
    assert b"a secret" in (home / FILE_NAME).read_bytes()
    with store.transaction() as db:
        db.execute("DELETE FROM dialogue_sets")
    store.scrub()
    assert b"a secret" not in (home / FILE_NAME).read_bytes()


def test_an_id_that_no_database_can_hold_finds_nothing(store):
    assert store.row("SELECT * FROM dialogue_sets WHERE id = ?", 2**70) is None
