-- Which jobs of the history name which cluster, so that a page of them costs the page.
CREATE TABLE history_of_cluster (
    account INTEGER NOT NULL,
    cluster TEXT    NOT NULL,
    job     BLOB    NOT NULL,
    PRIMARY KEY (account, cluster, job)
) STRICT, WITHOUT ROWID;

WITH RECURSIVE part (account, job, cluster, rest) AS (
    SELECT account, job, '', trim(clusters) || ' ' FROM history WHERE trim(clusters) <> ''
    UNION ALL
    SELECT account, job, substr(rest, 1, instr(rest, ' ') - 1), ltrim(substr(rest, instr(rest, ' ') + 1))
    FROM part WHERE rest <> ''
)
INSERT OR IGNORE INTO history_of_cluster (account, cluster, job)
SELECT account, cluster, job FROM part WHERE cluster <> '';

-- How many there are: counting a hundred thousand rows at each archived job would hold the writer up.
CREATE TABLE history_size (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    jobs INTEGER NOT NULL
) STRICT;

INSERT INTO history_size (only, jobs) SELECT 1, count(*) FROM history;

CREATE TRIGGER history_grows AFTER INSERT ON history
BEGIN UPDATE history_size SET jobs = jobs + 1; END;

CREATE TRIGGER history_shrinks AFTER DELETE ON history
BEGIN UPDATE history_size SET jobs = jobs - 1; END;
