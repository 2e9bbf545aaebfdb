-- What topics should have been told and are not known to have been. An id is never used twice; the
-- ids of one subject are in the order of what happened.
CREATE TABLE notice (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    subject   TEXT    NOT NULL, -- the job or cluster it is about
    delivered INTEGER NOT NULL DEFAULT 0, -- messages of it that were delivered
    format    INTEGER NOT NULL, -- of `record`, see journal.rs
    record    TEXT    NOT NULL
) STRICT;

CREATE INDEX notice_by_subject ON notice (subject, id);
