-- When a client last asked for a blob, as far as servers told. Lossy; no answer depends on it.
CREATE TABLE demand (
    blob_id INTEGER NOT NULL PRIMARY KEY REFERENCES blob (id) ON DELETE CASCADE,
    asked_at TEXT NOT NULL
) STRICT;

-- When the certificate of a URL ends, if it has one.
ALTER TABLE url_facts ADD COLUMN certificate_ends_at TEXT;
