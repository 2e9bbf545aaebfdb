-- Accounts. Ids are never used twice: what an account left behind must not find a new owner.
CREATE TABLE account (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    name    TEXT    NOT NULL UNIQUE,
    state   TEXT    NOT NULL, -- Active, Disabled
    created INTEGER NOT NULL  -- microseconds since 1970
) STRICT;

-- Access keys. A signature is verified with the secret itself, so it is kept as it is; the file
-- is readable by its owner only.
CREATE TABLE access_key (
    id      TEXT    PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account (id),
    secret  TEXT    NOT NULL,
    state   TEXT    NOT NULL, -- Active, Inactive
    policy  TEXT,             -- what it is limited to, as JSON; NULL: nothing
    note    TEXT    NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX access_key_account ON access_key (account, id);
