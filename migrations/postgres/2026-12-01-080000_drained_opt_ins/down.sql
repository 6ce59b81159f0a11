ALTER TABLE host_category DROP COLUMN drained;
