-- Deleted jobs whose attempts are still to be removed. That is done later, in bounded steps: a
-- job may have a million attempts, and deleting it must not stop the writer.
CREATE TABLE deleted_job (
    job BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;
