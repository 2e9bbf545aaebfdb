-- Idempotency tokens of creates that the registry serves (api.md 4.4): what was made, for whom,
-- and the digest of what was asked.
CREATE TABLE token (
    account INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    token   TEXT    NOT NULL,
    digest  TEXT    NOT NULL,
    made    TEXT    NOT NULL,
    at      INTEGER NOT NULL, -- microseconds since 1970
    PRIMARY KEY (account, kind, token)
) STRICT, WITHOUT ROWID;

CREATE INDEX token_at ON token (at);
