-- The journal from format 2 on: one row per committed batch. `seq` is the number of its first event.
CREATE TABLE batch (
    seq    INTEGER PRIMARY KEY,
    events INTEGER NOT NULL,
    at     INTEGER NOT NULL, -- microseconds; when it was decided
    record BLOB    NOT NULL  -- see batch.rs
) STRICT;

-- Tasks that have ended attempts, so that segments need not repeat their names.
CREATE TABLE task (
    id   INTEGER PRIMARY KEY,
    job  BLOB NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (job, name)
) STRICT;

-- Ended attempts of a task, many in a row, ordered by instance. Rows of one task may overlap: an instance
-- that was tried again is in a later one too. Written by checkpoints; never updated.
CREATE TABLE segment (
    task     INTEGER NOT NULL,
    first    INTEGER NOT NULL, -- smallest instance
    last     INTEGER NOT NULL, -- largest instance
    id       INTEGER NOT NULL, -- a later one has a larger number
    attempts INTEGER NOT NULL,
    record   BLOB    NOT NULL, -- see segment.rs
    PRIMARY KEY (task, first, last, id)
) STRICT, WITHOUT ROWID;
