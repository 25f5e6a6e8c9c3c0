-- The views of a generation get the shapes of their tables: a JSON object, the shape of each view by its name. '' is a shape
-- that nobody recorded: the first program that opens the schema records its own.
ALTER TABLE generations RENAME COLUMN views TO names;
ALTER TABLE generations ADD COLUMN views jsonb;
UPDATE generations SET views = (SELECT coalesce(jsonb_object_agg(name, ''), '{}') FROM unnest(names) AS name);
ALTER TABLE generations ALTER COLUMN views SET NOT NULL;
ALTER TABLE generations DROP COLUMN names;
