-- Requests that were carried out, each with the order as it was answered.
CREATE TABLE receipts (
    key         TEXT    NOT NULL PRIMARY KEY,
    fingerprint TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    buyer_id    TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    items       TEXT    NOT NULL,
    created_at  TEXT    NOT NULL,
    updated_at  TEXT    NOT NULL,
    kept_since  TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX receipts_by_age ON receipts (kept_since);
