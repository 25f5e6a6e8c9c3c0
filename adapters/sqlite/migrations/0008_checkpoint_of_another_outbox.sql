-- The checkpoint of an outbox that is not in this file. Only its outbox can read the position.
CREATE TABLE other_checkpoint (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    position TEXT    NOT NULL,
    term     INTEGER NOT NULL
) STRICT;
