-- A host that is taken out of answers for one of its categories, for a while.
ALTER TABLE host_category ADD COLUMN drained BOOLEAN NOT NULL DEFAULT FALSE;
