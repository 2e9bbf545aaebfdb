-- What an account registered: `img-...`, a name for an operating system image `m-...`, which need
-- not have been imported.
CREATE TABLE image (
    id          TEXT    PRIMARY KEY, -- sorts by creation
    account     INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    description TEXT    NOT NULL,
    ecs_image   TEXT    NOT NULL,
    platform    TEXT    NOT NULL,
    created     INTEGER NOT NULL -- microseconds since 1970
) STRICT, WITHOUT ROWID;

CREATE INDEX image_account ON image (account, id);

-- What the operator imported: `m-...`, a root file system on disk.
CREATE TABLE import (
    id       TEXT    PRIMARY KEY,
    account  INTEGER,          -- NULL: for every account
    platform TEXT    NOT NULL,
    root     TEXT    NOT NULL, -- where it lies, below the data directory
    digest   TEXT    NOT NULL, -- of what was imported; empty when it has none
    bytes    INTEGER NOT NULL,
    origin   TEXT    NOT NULL, -- what it was imported from, for a person
    imported INTEGER NOT NULL, -- microseconds since 1970
    checked  INTEGER,          -- when it was last checked
    fault    TEXT    NOT NULL  -- what the check found; empty: nothing
) STRICT, WITHOUT ROWID;
