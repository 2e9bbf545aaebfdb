-- Apps: a name of an account, and what its owner described with each change.
CREATE TABLE app (
    account  INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    public   INTEGER NOT NULL, -- 1: everybody may see and call it
    created  INTEGER NOT NULL, -- microseconds since 1970
    revision INTEGER NOT NULL, -- the next to be given; none is given twice
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

-- A public app is called by its name alone.
CREATE UNIQUE INDEX app_public ON app (name) WHERE public = 1;

CREATE TABLE app_revision (
    account  INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    updated  INTEGER NOT NULL, -- microseconds since 1970
    spec     TEXT    NOT NULL, -- JSON of the model's AppSpec
    PRIMARY KEY (account, name, revision),
    FOREIGN KEY (account, name) REFERENCES app (account, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
