-- When a server last sent a client to a URL. Servers write it in batches; no answer depends on it.
CREATE TABLE url_traffic (
    host_category_url_id INTEGER NOT NULL PRIMARY KEY REFERENCES host_category_url (id) ON DELETE CASCADE,
    redirected_at TEXT NOT NULL
) STRICT;

-- Which process probes (empty: none), and its last heartbeat. One row.
CREATE TABLE prober (
    id INTEGER NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    beat_at TEXT
) STRICT;
INSERT INTO prober (id, holder) VALUES (1, '');

-- What servers were told of by clients that came back: this blob may be missing or broken at this URL. The
-- prober looks, and takes the row away.
CREATE TABLE suspicion (
    host_category_url_id INTEGER NOT NULL REFERENCES host_category_url (id) ON DELETE CASCADE,
    blob_id INTEGER NOT NULL REFERENCES blob (id) ON DELETE CASCADE,
    first_seen_at TEXT NOT NULL,
    PRIMARY KEY (host_category_url_id, blob_id)
) STRICT;
CREATE INDEX suspicion_blob_id ON suspicion (blob_id);
