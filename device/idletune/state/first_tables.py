"""The tables of the first version; schema.py has the migrations since."""

# Short columns stand before texts and blobs: SQLite keeps a long row's tail in pages of its own, and the
# buffer reads the short ones at every call. AUTOINCREMENT, because an id may never be used a second time.
FIRST_TABLES = (
    """CREATE TABLE adapters (
        version INTEGER PRIMARY KEY AUTOINCREMENT,
        file TEXT NOT NULL,
        base_sha256 TEXT NOT NULL,
        created REAL NOT NULL,
        rank INTEGER NOT NULL, alpha REAL NOT NULL, targets TEXT NOT NULL,
        settings TEXT NOT NULL DEFAULT '{}',          -- JSON
        dialogue_set_ids TEXT NOT NULL DEFAULT '[]',  -- JSON; outlive the sets, to know what was learned
        losses TEXT NOT NULL DEFAULT '{}',            -- JSON
        state TEXT NOT NULL CHECK (state IN ('candidate', 'promoted', 'retired', 'rejected')),
        reason TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE UNIQUE INDEX one_promoted_per_base ON adapters (base_sha256) WHERE state = 'promoted'",
    """CREATE TABLE dialogue_sets (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        created REAL NOT NULL,
        domain TEXT NOT NULL,
        eoe REAL NOT NULL, dss REAL NOT NULL, idd REAL NOT NULL,   -- IDD at arrival, it ages
        answered_at REAL,
        learned_in INTEGER REFERENCES adapters (version) ON DELETE SET NULL,
        held_out INTEGER NOT NULL DEFAULT 0,
        embedding BLOB NOT NULL,   -- float32, little-endian
        question TEXT NOT NULL,
        reply TEXT NOT NULL,
        response TEXT,
        CHECK ((response IS NULL) = (answered_at IS NULL))
    )""",
    "CREATE INDEX dialogue_sets_learned_in ON dialogue_sets (learned_in)",
    # A prompt outlives its set, without a word of it: otherwise a replaced set would free a place
    # in the daily limit. One that was not shown yet goes with its set.
    """CREATE TABLE prompts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        dialogue_set_id INTEGER UNIQUE REFERENCES dialogue_sets (id) ON DELETE SET NULL,
        state TEXT NOT NULL DEFAULT 'pending'
            CHECK (state IN ('pending', 'shown', 'accepted', 'edited', 'dismissed', 'never')),
        asked_at REAL,
        answered_at REAL
    )""",
    "CREATE INDEX prompts_asked_at ON prompts (asked_at)",
    """CREATE TRIGGER pending_prompt_goes_with_its_set BEFORE DELETE ON dialogue_sets BEGIN
        DELETE FROM prompts WHERE dialogue_set_id = OLD.id AND state = 'pending';
    END""",
    "CREATE TABLE never_ask (question_hash TEXT PRIMARY KEY, at REAL NOT NULL)",
    """CREATE TABLE synthetic_sets (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        dialogue_set_id INTEGER NOT NULL REFERENCES dialogue_sets (id) ON DELETE CASCADE,
        rouge1 REAL NOT NULL,
        question TEXT NOT NULL, response TEXT NOT NULL
    )""",
    "CREATE INDEX synthetic_sets_dialogue_set_id ON synthetic_sets (dialogue_set_id)",
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
        detail TEXT NOT NULL   -- JSON
    )""",
)
