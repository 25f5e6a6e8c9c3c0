-- Times are text, RFC 3339 in UTC with milliseconds: they can be read as they stand, and sort as they should.
-- The names are those of the MongoDB adapter's collections, where there is a choice.

CREATE TABLE orders (
    id         TEXT    NOT NULL PRIMARY KEY,
    buyer_id   TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    items      TEXT    NOT NULL, -- JSON: [{"productId":"1111","amount":3}]
    created_at TEXT    NOT NULL,
    updated_at TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX orders_by_buyer ON orders (buyer_id, id);

-- AUTOINCREMENT, so that a seq is never given twice, also when the newest rows were deleted: a checkpoint would then
-- stand behind messages that are still to be published.
CREATE TABLE outbox (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id    TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    type        TEXT    NOT NULL,
    payload     TEXT    NOT NULL, -- JSON
    occurred_at TEXT    NOT NULL,
    traceparent TEXT    NOT NULL, -- '' when the request had none
    UNIQUE (order_id, version)
) STRICT;

-- How far the relay has come.
CREATE TABLE relay (
    id       TEXT    NOT NULL PRIMARY KEY, -- 'outbox'
    position INTEGER NOT NULL,             -- a seq of the outbox; 0: before the first
    term     INTEGER NOT NULL              -- of the lease under which this was written
) STRICT, WITHOUT ROWID;

-- A row outlives the lease: the term has to go on from it.
CREATE TABLE leases (
    id         TEXT    NOT NULL PRIMARY KEY,
    owner      TEXT    NOT NULL,
    term       INTEGER NOT NULL,
    renewed_at TEXT    NOT NULL,
    expires_at TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE parked (
    order_id    TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    type        TEXT    NOT NULL,
    payload     TEXT    NOT NULL,
    occurred_at TEXT    NOT NULL,
    traceparent TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    parked_at   TEXT    NOT NULL,
    retry       INTEGER NOT NULL, -- 1 in all rows of an order once an operator wants it sent again
    PRIMARY KEY (order_id, version)
) STRICT;

-- The topic of the in-process broker. The same message may stand here twice, as in any log that is written at least
-- once.
CREATE TABLE topic (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id    TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    type        TEXT    NOT NULL,
    payload     TEXT    NOT NULL,
    occurred_at TEXT    NOT NULL,
    traceparent TEXT    NOT NULL
) STRICT;

CREATE TABLE subscribers (
    name     TEXT    NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL -- a seq of the topic; 0: before the first
) STRICT, WITHOUT ROWID;
