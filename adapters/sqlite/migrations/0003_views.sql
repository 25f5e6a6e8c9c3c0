-- The copies of the views. Everything below belongs to one of them. No row is ever deleted, so that no number is given
-- twice.
CREATE TABLE generations (
    id     INTEGER PRIMARY KEY,
    view   TEXT    NOT NULL,
    number INTEGER NOT NULL,
    state  TEXT    NOT NULL, -- 'live', 'shadow', 'leaving' while its rows are being deleted, 'gone'
    UNIQUE (view, number)
) STRICT;

CREATE UNIQUE INDEX live_generations ON generations (view) WHERE state = 'live';
CREATE UNIQUE INDEX shadow_generations ON generations (view) WHERE state = 'shadow';

INSERT INTO generations (view, number, state)
VALUES ('order-summary', 1, 'live'), ('buyer-activity', 1, 'live'), ('timeline', 1, 'live');

-- How far a view's consumer has come, by partition of the topic.
CREATE TABLE positions (
    generation INTEGER NOT NULL,
    partition  INTEGER NOT NULL,
    next       INTEGER NOT NULL, -- the offset to go on from
    as_of      TEXT    NOT NULL, -- '' when that cannot be said
    PRIMARY KEY (generation, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox (
    generation  INTEGER NOT NULL,
    message_id  TEXT    NOT NULL,
    received_at TEXT    NOT NULL,
    PRIMARY KEY (generation, message_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX inbox_by_age ON inbox (received_at);

-- How far a view is with an order.
CREATE TABLE marks (
    generation INTEGER NOT NULL,
    order_id   TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    held       INTEGER NOT NULL, -- number of held messages
    parked     TEXT    NOT NULL, -- why the next one cannot take effect, '' when nothing is wrong with it
    buyer_id   TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    PRIMARY KEY (generation, order_id)
) STRICT, WITHOUT ROWID;

-- Held messages, byte for byte as they came: they need not be JSON, or even text.
CREATE TABLE held (
    generation  INTEGER NOT NULL,
    message_id  TEXT    NOT NULL,
    order_id    TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    type        TEXT    NOT NULL,
    payload     BLOB    NOT NULL,
    occurred_at TEXT    NOT NULL,
    traceparent TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    held_at     TEXT    NOT NULL,
    PRIMARY KEY (generation, message_id)
) STRICT;

CREATE INDEX held_by_order ON held (generation, order_id, version, message_id);

CREATE TABLE summaries (
    generation   INTEGER NOT NULL,
    order_id     TEXT    NOT NULL,
    version      INTEGER NOT NULL,
    buyer_id     TEXT    NOT NULL,
    items        TEXT    NOT NULL, -- JSON, as in orders
    total_amount INTEGER NOT NULL,
    status       TEXT    NOT NULL,
    created_at   TEXT    NOT NULL,
    updated_at   TEXT    NOT NULL,
    submitted_at TEXT    NOT NULL, -- '' as long as it was not, and so the next two
    paid_at      TEXT    NOT NULL,
    cancelled_at TEXT    NOT NULL,
    PRIMARY KEY (generation, order_id)
) STRICT, WITHOUT ROWID;

-- An index for each order of a list. The status at the end tells which rows a list of one status can pass over.
CREATE INDEX summaries_by_id ON summaries (generation, buyer_id, order_id, status);
CREATE INDEX summaries_by_change ON summaries (generation, buyer_id, updated_at, order_id, status);
CREATE INDEX summaries_by_amount ON summaries (generation, buyer_id, total_amount, order_id, status);

CREATE TABLE activity (
    generation INTEGER NOT NULL,
    buyer_id   TEXT    NOT NULL,
    pending    INTEGER NOT NULL,
    submitted  INTEGER NOT NULL,
    paid       INTEGER NOT NULL,
    cancelled  INTEGER NOT NULL,
    last_at    TEXT    NOT NULL,
    PRIMARY KEY (generation, buyer_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE timeline (
    generation INTEGER NOT NULL,
    order_id   TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    type       TEXT    NOT NULL,
    at         TEXT    NOT NULL,
    text       TEXT    NOT NULL,
    PRIMARY KEY (generation, order_id, version)
) STRICT, WITHOUT ROWID;
