-- Finds the rows that hold an instance without touching the records of all others.
CREATE INDEX segment_span ON segment (task, last, first, id);
