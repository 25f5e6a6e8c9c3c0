-- The views of a generation get the shapes of their tables: a JSON object, the shape of each view by its name. '' is a shape
-- that nobody recorded: the first program that opens the file records its own.
UPDATE generations SET views = (SELECT json_group_object(value, '') FROM json_each(views));
