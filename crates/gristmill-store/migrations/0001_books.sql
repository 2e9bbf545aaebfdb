-- The journal: one row per event, in the order of `seq`, which counts from 1 without gaps.
CREATE TABLE journal (
    seq    INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL, -- microseconds; when the batch was decided
    format INTEGER NOT NULL, -- of `record`, see journal.rs
    record TEXT    NOT NULL
) STRICT;

-- The last checkpoint: what the world held after the event `through`.
CREATE TABLE entity (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE checkpoint (
    only    INTEGER PRIMARY KEY CHECK (only = 1),
    through INTEGER NOT NULL
) STRICT;

INSERT INTO checkpoint (only, through) VALUES (1, 0);

-- What should be true outside and is not known to be true yet. An id is never used twice.
CREATE TABLE outbox (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    format INTEGER NOT NULL, -- of `record`, see journal.rs
    record TEXT    NOT NULL
) STRICT;

-- Attempts that ended, inserted once and never updated. Ids are big-endian numbers.
CREATE TABLE attempt (
    job      BLOB    NOT NULL,
    task     TEXT    NOT NULL,
    instance INTEGER NOT NULL,
    run      INTEGER NOT NULL,
    worker   BLOB    NOT NULL,
    address  TEXT    NOT NULL,
    retries  INTEGER NOT NULL,
    outcome  TEXT    NOT NULL,
    number   INTEGER,          -- exit code or signal
    cause    TEXT,
    message  TEXT,
    detail   TEXT    NOT NULL,
    started  INTEGER,          -- microseconds; NULL when the program never started
    ended    INTEGER NOT NULL, -- microseconds
    became   TEXT    NOT NULL, -- of the instance
    PRIMARY KEY (job, task, instance, run)
) STRICT, WITHOUT ROWID;
