-- Finished jobs that left the mill. Written when they leave, never updated.
CREATE TABLE history (
    job      BLOB    PRIMARY KEY,
    account  INTEGER NOT NULL,
    ended    INTEGER NOT NULL, -- microseconds
    clusters TEXT    NOT NULL, -- ids of clusters its tasks name, each between blanks
    record   BLOB    NOT NULL  -- opaque to the store
) STRICT;

CREATE INDEX history_of_account ON history (account, job);
CREATE INDEX history_by_end ON history (ended);
