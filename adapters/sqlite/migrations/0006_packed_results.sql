-- The items of a large order, as in the column items, which then is '', compressed with Zstandard.
ALTER TABLE receipts ADD COLUMN packed_items BLOB;
