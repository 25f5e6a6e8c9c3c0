-- The views of the versions before. They are made again from the topic.
DROP TABLE generations;
DROP TABLE positions;
DROP TABLE inbox;
DROP TABLE marks;
DROP TABLE held;
DROP TABLE summaries;
DROP TABLE activity;
DROP TABLE timeline;

-- The copies of the read model. The tables of generation 7 are made with it: their names begin with rm7_, and those of
-- the SQL views on the live generation with rm_. AUTOINCREMENT, so that no number is given twice.
CREATE TABLE generations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    state  TEXT    NOT NULL, -- 'live', 'shadow', 'leaving' while its tables are being dropped
    views  TEXT    NOT NULL  -- JSON: their names, sorted
) STRICT;

CREATE UNIQUE INDEX one_live_one_shadow ON generations (state) WHERE state IN ('live', 'shadow');
