-- Queues. `messages` counts the rows of `message`, so that a full queue is known without counting.
CREATE TABLE queue (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account      INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    created      INTEGER NOT NULL, -- all times are microseconds
    modified     INTEGER NOT NULL,
    visibility   INTEGER NOT NULL, -- seconds
    size_max     INTEGER NOT NULL, -- bytes of a body
    retention    INTEGER NOT NULL, -- seconds
    delay        INTEGER NOT NULL, -- seconds
    polling_wait INTEGER NOT NULL, -- seconds
    logging      INTEGER NOT NULL,
    messages     INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account, name)
) STRICT;

CREATE TABLE message (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    queue      INTEGER NOT NULL,
    state      INTEGER NOT NULL, -- 0 can be received, 1 delayed, 2 with a receiver
    priority   INTEGER NOT NULL, -- 1 is received first
    visible_at INTEGER NOT NULL, -- when state is not 0
    expires_at INTEGER NOT NULL,
    enqueued   INTEGER NOT NULL,
    dequeued   INTEGER,          -- for the first time
    dequeues   INTEGER NOT NULL DEFAULT 0,
    receipt    INTEGER NOT NULL DEFAULT 0, -- of the last receiver; counts up
    body       TEXT    NOT NULL,
    extras     TEXT              -- JSON: group and properties; NULL when there are none
) STRICT;

CREATE INDEX message_next ON message (queue, state, priority, id);
CREATE INDEX message_hidden ON message (visible_at) WHERE state > 0;
CREATE INDEX message_expiry ON message (expires_at);

CREATE TABLE topic (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    account  INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    size_max INTEGER NOT NULL,
    logging  INTEGER NOT NULL,
    UNIQUE (account, name)
) STRICT;

CREATE TABLE subscription (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    topic    INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    endpoint TEXT    NOT NULL, -- as sent
    queue    TEXT,             -- the queue's name, when the endpoint is one
    strategy TEXT    NOT NULL,
    format   TEXT    NOT NULL,
    tag      TEXT,
    created  INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    pushes   INTEGER NOT NULL DEFAULT 0, -- rows of `push`
    UNIQUE (topic, name)
) STRICT;

CREATE INDEX subscription_busy ON subscription (id) WHERE pushes > 0;

-- Published messages that are not delivered yet, one row for each subscription.
CREATE TABLE push (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription INTEGER NOT NULL,
    message      TEXT    NOT NULL, -- its id
    body         TEXT    NOT NULL,
    tag          TEXT,
    published    INTEGER NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0, -- that failed
    due_at       INTEGER NOT NULL
) STRICT;

CREATE INDEX push_due ON push (subscription, due_at);

-- What the control plane published last about each subject, so that what it publishes again after
-- a crash is known. A mark is forgotten when nothing that old can be sent again.
CREATE TABLE mark (
    subject TEXT    PRIMARY KEY,
    notice  INTEGER NOT NULL, -- the number of the last notice
    part    INTEGER NOT NULL, -- how many of its messages were published
    decided INTEGER NOT NULL, -- when the notice was decided
    noted   INTEGER NOT NULL  -- when the mark was made
) STRICT, WITHOUT ROWID;

CREATE INDEX mark_age ON mark (noted);

-- One row for each account that set something about itself.
CREATE TABLE account (
    id             INTEGER PRIMARY KEY,
    logging_bucket TEXT NOT NULL
) STRICT;

-- Always empty; its counter numbers publications.
CREATE TABLE publication (
    id INTEGER PRIMARY KEY AUTOINCREMENT
) STRICT;
