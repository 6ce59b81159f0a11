ALTER TABLE url_facts DROP COLUMN certificate_ends_at;
DROP TABLE demand;
