-- The id of the topic above, which places in it name. It is made with the file: a file that is made again has another topic.
CREATE TABLE topic_id (id TEXT NOT NULL) STRICT;

INSERT INTO topic_id (id) VALUES (lower(hex(randomblob(16))));
