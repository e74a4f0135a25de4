"""The tables of the database: those of the first version, and the migrations that brought it to the newest.

Migrations are functions recorded by name, each run once, in order. Append to the list; never edit or rename one.
"""

import json
import sqlite3
from collections.abc import Callable
from functools import cache

from . import events_to_tables
from .first_tables import FIRST_TABLES


def m001_initial(db: sqlite3.Connection) -> None:
    for statement in FIRST_TABLES:
        db.execute(statement)


def m002_rounds(db: sqlite3.Connection) -> None:
    """What a training run has settled so far, so that a stopped one goes on (learning/training_runs.py)."""
    db.execute("""CREATE TABLE rounds (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        started REAL NOT NULL, finished REAL,
        training TEXT NOT NULL, held_out TEXT NOT NULL,  -- JSON: ids of dialogue sets
        key TEXT NOT NULL DEFAULT '',
        measures TEXT NOT NULL DEFAULT '{}'              -- JSON
    )""")


def m003_sealing(db: sqlite3.Connection) -> None:
    """Data keys, wrapped by the host's key; and what an adapter's file must hash to, lest half of one is served."""
    db.execute("CREATE TABLE data_keys (id INTEGER PRIMARY KEY, wrapped BLOB NOT NULL)")
    db.execute("ALTER TABLE adapters ADD COLUMN file_sha256 TEXT NOT NULL DEFAULT ''")  # of the plain bytes


def m004_paraphrase_counters(db: sqlite3.Connection) -> None:
    """That a set was paraphrased is forgotten with the set."""
    db.execute("""CREATE TRIGGER paraphrase_counter_goes_with_its_set AFTER DELETE ON dialogue_sets BEGIN
        DELETE FROM counters WHERE name = 'paraphrased ' || OLD.id;
    END""")
    db.execute("""DELETE FROM counters
        WHERE name LIKE 'paraphrased %' AND name NOT IN (SELECT 'paraphrased ' || id FROM dialogue_sets)""")


def m005_question_embeddings(db: sqlite3.Connection) -> None:
    """What a message is compared with; sets from before have none until they are embedded anew."""
    db.execute("ALTER TABLE dialogue_sets ADD COLUMN question_embedding BLOB")  # float16, little-endian


def m006_answer_losses(db: sqlite3.Connection) -> None:
    """What adapter monitoring has measured (learning/monitoring.py): loss in nats per token of an answer."""
    db.execute("""CREATE TABLE answer_losses (
        dialogue_set_id INTEGER NOT NULL REFERENCES dialogue_sets (id) ON DELETE CASCADE,
        key TEXT NOT NULL,  -- names the example, the base model and the adapter
        loss REAL NOT NULL,
        PRIMARY KEY (dialogue_set_id, key)
    )""")


def m007_provenance(db: sqlite3.Connection) -> None:
    """What replies were written from and what adapters know (provenance.py). Ids outlive what they name."""
    db.execute("ALTER TABLE dialogue_sets ADD COLUMN adapter_version INTEGER")  # wrote the reply; NULL: base, unknown
    db.execute("ALTER TABLE adapters ADD COLUMN parent_version INTEGER")  # training started from it
    db.execute(
        "ALTER TABLE adapters ADD COLUMN adopted_sha256 TEXT NOT NULL DEFAULT ''"
    )  # of the file that was adopted
    for name, other in (("sources", "source_id"), ("adapters", "adapter_version")):
        db.execute(f"""CREATE TABLE dialogue_set_{name} (
            dialogue_set_id INTEGER NOT NULL REFERENCES dialogue_sets (id) ON DELETE CASCADE,
            {other} INTEGER NOT NULL,
            PRIMARY KEY (dialogue_set_id, {other})
        ) WITHOUT ROWID""")
        db.execute(f"CREATE INDEX dialogue_set_{name}_{other} ON dialogue_set_{name} ({other})")
    db.execute("""CREATE TABLE adapter_sets (
        adapter_version INTEGER NOT NULL REFERENCES adapters (version),
        dialogue_set_id INTEGER NOT NULL,
        through_reply INTEGER NOT NULL,  -- 1: known through replies that descend from it alone, 0: trained on
        PRIMARY KEY (adapter_version, dialogue_set_id)
    ) WITHOUT ROWID""")
    db.execute("CREATE INDEX adapter_sets_dialogue_set_id ON adapter_sets (dialogue_set_id)")
    _migrate_knowledge(db)


def _migrate_knowledge(db: sqlite3.Connection) -> None:
    """Earlier versions kept no parents: a warm start counts as a child of the version before it for the same base."""
    known: dict[str, tuple[int, set[int]]] = {}
    for row in db.execute("SELECT * FROM adapters ORDER BY version").fetchall():
        try:
            ids, warm = set(json.loads(row["dialogue_set_ids"])), json.loads(row["settings"]).get("warm_start")
        except (ValueError, AttributeError, TypeError):  # damaged; it is told where the adapter is used
            continue
        parent, inherited = known.get(row["base_sha256"], (None, set())) if warm else (None, set())
        db.execute("UPDATE adapters SET parent_version = ? WHERE version = ?", (parent, row["version"]))
        rows = [(row["version"], id) for id in sorted(ids | inherited)]
        db.executemany("INSERT INTO adapter_sets VALUES (?, ?, 0)", rows)
        known[row["base_sha256"]] = row["version"], ids | inherited


def m008_origins(db: sqlite3.Connection) -> None:
    """Where exchanges and answers came from (origins.py), and where the answers did that an adapter was trained on.

    `adopted`: made elsewhere, training starts from it. `held_back`: a candidate that waits for a person's look.
    """
    db.execute("ALTER TABLE dialogue_sets ADD COLUMN origin TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE dialogue_sets ADD COLUMN answer_origin TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE adapters ADD COLUMN origins TEXT NOT NULL DEFAULT '[]'")  # JSON
    db.execute("ALTER TABLE adapters ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE adapters ADD COLUMN held_back INTEGER NOT NULL DEFAULT 0")
    db.execute("UPDATE adapters SET adopted = 1 WHERE dialogue_set_ids = '[]'")  # nothing else was made of no set
    db.execute("""CREATE TABLE observed (
        origin TEXT PRIMARY KEY, since REAL NOT NULL, count INTEGER NOT NULL  -- exchanges in the hour since
    )""")


def m009_private_settings(db: sqlite3.Connection) -> None:
    """The settings that hold the user's words, of an encrypted home (private_settings.py)."""
    db.execute("""CREATE TABLE private_settings (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        value BLOB NOT NULL   -- sealed
    )""")


def m010_copies(db: sqlite3.Connection) -> None:
    """Files written outside of the home, and the dialogue sets they hold (copies.py)."""
    db.execute("""CREATE TABLE copies (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL, written REAL NOT NULL,
        adapter_version INTEGER, sha256 TEXT NOT NULL,  -- of an adapter's copy, and the hash of its file
        path TEXT NOT NULL
    )""")
    db.execute("""CREATE TABLE copy_sets (
        copy_id INTEGER NOT NULL REFERENCES copies (id) ON DELETE CASCADE,
        dialogue_set_id INTEGER NOT NULL,
        PRIMARY KEY (copy_id, dialogue_set_id)
    ) WITHOUT ROWID""")


def m011_shown(db: sqlite3.Connection) -> None:
    """A digest of what a prompt showed, which its answer must be for; of prompts shown before, it is not known.

    No digest of a text stays behind when its set goes.
    """
    db.execute("ALTER TABLE prompts ADD COLUMN shown TEXT")
    db.execute("""CREATE TRIGGER digest_goes_with_its_set BEFORE DELETE ON dialogue_sets BEGIN
        UPDATE prompts SET shown = NULL WHERE dialogue_set_id = OLD.id;
    END""")


def m012_askings(db: sqlite3.Connection) -> None:
    """When prompts were shown, by both clocks (clock.py), in order: a wall clock that is set frees no more of them."""
    db.execute("""CREATE TABLE askings (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        wall REAL NOT NULL, uptime REAL NOT NULL, boot TEXT NOT NULL
    )""")
    db.execute("""INSERT INTO askings (wall, uptime, boot)
        SELECT asked_at, 0, '' FROM prompts WHERE asked_at IS NOT NULL ORDER BY asked_at""")


def m013_set_records(db: sqlite3.Connection) -> None:
    """What is recorded of single sets (set_records.py); earlier, counters with ids in their names told it.

    Tables of their own: a column would stand behind the texts of a row, in pages that are read seldom.
    """
    with_its_set = "REFERENCES dialogue_sets (id) ON DELETE CASCADE"
    for table, rest in (("forgotten_sets", ""), ("paraphrased_sets", with_its_set), ("embeddings_due", with_its_set)):
        db.execute(f"CREATE TABLE {table} (dialogue_set_id INTEGER PRIMARY KEY {rest})")
    buffered = " AND CAST(substr(name, 13) AS INTEGER) IN (SELECT id FROM dialogue_sets)"
    for kind, kept in (("forgotten", ""), ("paraphrased", buffered)):
        db.execute(f"""INSERT OR IGNORE INTO {kind}_sets
            SELECT CAST(substr(name, {len(kind) + 2}) AS INTEGER) FROM counters
            WHERE name GLOB '{kind} [0-9]*' AND value > 0{kept}""")
    db.execute("""INSERT INTO embeddings_due SELECT id FROM dialogue_sets
        WHERE id > coalesce((SELECT value FROM counters WHERE name = 'embeddings refreshed up to'), 0)
        AND id <= coalesce((SELECT value FROM counters WHERE name = 'embeddings due up to'), 0)""")
    db.execute("DROP TRIGGER paraphrase_counter_goes_with_its_set")
    db.execute("""DELETE FROM counters WHERE name GLOB 'forgotten *' OR name GLOB 'paraphrased *'
        OR name IN ('embeddings refreshed up to', 'embeddings due up to')""")


def m014_completions(db: sqlite3.Connection) -> None:
    """Ids of the replies that clients got, by which feedback finds the dialogue set (completion_records.py)."""
    db.execute("""CREATE TABLE completions (
        id TEXT PRIMARY KEY,
        dialogue_set_id INTEGER NOT NULL REFERENCES dialogue_sets (id) ON DELETE CASCADE
    ) WITHOUT ROWID""")
    db.execute("CREATE INDEX completions_dialogue_set_id ON completions (dialogue_set_id)")


def m015_imports(db: sqlite3.Connection) -> None:
    """Files of conversations that were imported, the exchanges looked at, and the sets they became (imports.py)."""
    db.execute("""CREATE TABLE imports (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        format TEXT NOT NULL, mode TEXT NOT NULL,
        started REAL NOT NULL, finished REAL,
        name TEXT NOT NULL
    )""")
    db.execute("""CREATE TABLE imported_exchanges (
        digest TEXT PRIMARY KEY, import_id INTEGER NOT NULL REFERENCES imports (id)
    ) WITHOUT ROWID""")
    db.execute("CREATE INDEX imported_exchanges_import_id ON imported_exchanges (import_id)")
    db.execute("""CREATE TABLE imported_sets (
        dialogue_set_id INTEGER PRIMARY KEY,   -- outlives the set
        import_id INTEGER NOT NULL REFERENCES imports (id),
        answered INTEGER NOT NULL              -- 1: its answer came with it
    )""")
    db.execute("CREATE INDEX imported_sets_import_id ON imported_sets (import_id)")


def m016_decisions(db: sqlite3.Connection) -> None:
    """What decisions read has tables of its own; earlier, events told it (events_to_tables.py)."""
    for statement in events_to_tables.TABLES:
        db.execute(statement)
    events_to_tables.move(db)


def m017_training_form(db: sqlite3.Connection) -> None:
    """The form of a run's memory plan (MemoryPlan.form): another budget must not make the run begin anew."""
    db.execute("ALTER TABLE rounds ADD COLUMN form TEXT NOT NULL DEFAULT ''")


def m018_fleets(db: sqlite3.Connection) -> None:
    """Fleets that the user joined, and the updates that left for them (fleet_records.py)."""
    db.execute("""CREATE TABLE fleets (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        terms TEXT NOT NULL,  -- JSON, as the user accepted them
        joined REAL NOT NULL, left REAL
    )""")
    db.execute("""CREATE TABLE fleet_updates (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        fleet_id INTEGER NOT NULL REFERENCES fleets (id),
        made REAL NOT NULL,
        noise_multiplier REAL NOT NULL
    )""")


def m019_choices(db: sqlite3.Connection) -> None:
    """The reply that lost where the user chose an answer of two (choices.py)."""
    db.execute("""CREATE TABLE choices (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        dialogue_set_id INTEGER NOT NULL UNIQUE REFERENCES dialogue_sets (id) ON DELETE CASCADE,
        at REAL NOT NULL,
        rejected TEXT NOT NULL   -- sealed
    )""")


def m020_set_labels(db: sqlite3.Connection) -> None:
    """Labels of the situation in which an exchange was had (set_labels.py)."""
    db.execute("""CREATE TABLE set_labels (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        dialogue_set_id INTEGER NOT NULL UNIQUE REFERENCES dialogue_sets (id) ON DELETE CASCADE,
        labels TEXT NOT NULL   -- JSON, sealed
    )""")


def m021_second_replies(db: sqlite3.Connection) -> None:
    """Another reply to a question that waits, so that the user can choose (second_replies.py)."""
    db.execute("""CREATE TABLE second_replies (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        dialogue_set_id INTEGER NOT NULL UNIQUE REFERENCES dialogue_sets (id) ON DELETE CASCADE,
        at REAL NOT NULL,
        written_from TEXT NOT NULL,  -- JSON: ids of dialogue sets and adapter versions
        reply TEXT NOT NULL          -- sealed; '' where none was found that differs
    )""")


MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [
    m001_initial,
    m002_rounds,
    m003_sealing,
    m004_paraphrase_counters,
    m005_question_embeddings,
    m006_answer_losses,
    m007_provenance,
    m008_origins,
    m009_private_settings,
    m010_copies,
    m011_shown,
    m012_askings,
    m013_set_records,
    m014_completions,
    m015_imports,
    m016_decisions,
    m017_training_form,
    m018_fleets,
    m019_choices,
    m020_set_labels,
    m021_second_replies,
]


def schema_of(db: sqlite3.Connection) -> dict[str, dict[str, str]]:
    """Tables, indexes and triggers by name, each with its columns and their types; indexes and triggers have none."""
    found: dict[str, dict[str, str]] = {}
    rows = db.execute(
        """SELECT made.name, columns.name, columns.type FROM sqlite_master AS made
        LEFT JOIN pragma_table_info(made.name) AS columns ON made.type = 'table'
        WHERE made.name NOT LIKE 'sqlite_%'"""
    )
    for name, column, kind in rows:
        columns = found.setdefault(name, {})
        if column is not None:
            columns[column] = kind
    return found


@cache
def schema_after(migrations: tuple[Callable[[sqlite3.Connection], None], ...]) -> dict[str, dict[str, str]]:
    """The schema that these migrations make of an empty database."""
    db = sqlite3.connect(":memory:")
    db.row_factory = sqlite3.Row
    try:
        for migration in migrations:
            migration(db)
        return schema_of(db)
    finally:
        db.close()
