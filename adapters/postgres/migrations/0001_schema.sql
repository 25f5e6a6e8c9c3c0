-- Texts that are compared or sorted have the collation "C": by their bytes, which in UTF-8 is by code points.
-- Payloads, items and bodies are JSON as text: jsonb would change their bytes. Read them with a cast, payload::json ->> 'buyerId'.

-- A tenth of each page stays free, so that most updates need no new index entry (HOT).
CREATE TABLE orders (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    buyer_id   text        NOT NULL,
    status     text        NOT NULL,
    version    integer     NOT NULL,
    items      text        NOT NULL, -- JSON: [{"productId":"1111","amount":3}]
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 90);

-- seq is drawn under the lock of log.go, and never given twice.
CREATE TABLE outbox (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id    text COLLATE "C" NOT NULL,
    version     integer     NOT NULL,
    type        text        NOT NULL,
    payload     text        NOT NULL, -- JSON
    occurred_at timestamptz NOT NULL,
    traceparent text        NOT NULL, -- '' when the request had none
    UNIQUE (order_id, version)
);

-- How far the relay has come.
CREATE TABLE relay (
    id       text   NOT NULL PRIMARY KEY, -- 'outbox'
    position bigint NOT NULL,             -- a seq of the outbox; 0: before the first
    term     bigint NOT NULL              -- of the lease under which this was written
);

-- A row outlives the lease: the term has to go on from it.
CREATE TABLE leases (
    id         text        NOT NULL PRIMARY KEY,
    owner      text        NOT NULL,
    term       bigint      NOT NULL,
    renewed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE parked (
    order_id    text COLLATE "C" NOT NULL,
    version     integer     NOT NULL,
    type        text        NOT NULL,
    payload     text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    traceparent text        NOT NULL,
    reason      text        NOT NULL,
    parked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    retry       boolean     NOT NULL, -- true in all rows of an order once an operator wants it sent again
    PRIMARY KEY (order_id, version)
);

-- Results of commands with an idempotency key, each with the order as the command left it.
CREATE TABLE results (
    key         text COLLATE "C" NOT NULL PRIMARY KEY,
    fingerprint text        NOT NULL,
    id          text        NOT NULL,
    buyer_id    text        NOT NULL,
    status      text        NOT NULL,
    version     integer     NOT NULL,
    items       text        NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    stored_at   timestamptz NOT NULL
);

CREATE INDEX results_by_age ON results (stored_at);

-- The topic of the in-process broker. The same message may be here twice, as in any log that is written at least once.
CREATE TABLE topic (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id    text        NOT NULL,
    version     integer     NOT NULL,
    type        text        NOT NULL,
    payload     text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    traceparent text        NOT NULL
);

-- The id of this topic, which places in it name. A topic that is made again has another one.
CREATE TABLE topic_id (id text NOT NULL);

INSERT INTO topic_id (id) VALUES (replace(gen_random_uuid()::text, '-', ''));

CREATE TABLE subscribers (
    name     text   NOT NULL PRIMARY KEY,
    position bigint NOT NULL -- a seq of the topic; 0: before the first
);

-- The copies of the read model. The tables of generation 7 are made with it: their names begin with rm7_, and those of
-- the SQL views on the live generation with rm_. No number is given twice.
CREATE TABLE generations (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state  text   NOT NULL, -- 'live', 'shadow', 'leaving' while its tables are being dropped
    views  text[] NOT NULL  -- their names, sorted
);

CREATE UNIQUE INDEX one_live_one_shadow ON generations (state) WHERE state IN ('live', 'shadow');
