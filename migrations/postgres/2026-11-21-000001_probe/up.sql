-- When a server last sent a client to a URL. Servers write it in batches; no answer depends on it.
CREATE TABLE url_traffic (
    host_category_url_id BIGINT NOT NULL PRIMARY KEY REFERENCES host_category_url (id) ON DELETE CASCADE,
    redirected_at TIMESTAMP NOT NULL
);

-- Which process probes (empty: none), and its last heartbeat. One row.
CREATE TABLE prober (
    id BIGINT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    beat_at TIMESTAMP
);
INSERT INTO prober (id, holder) VALUES (1, '');

-- What servers were told of by clients that came back: this blob may be missing or broken at this URL. The
-- prober looks, and takes the row away.
CREATE TABLE suspicion (
    host_category_url_id BIGINT NOT NULL REFERENCES host_category_url (id) ON DELETE CASCADE,
    blob_id BIGINT NOT NULL REFERENCES blob (id) ON DELETE CASCADE,
    first_seen_at TIMESTAMP NOT NULL,
    PRIMARY KEY (host_category_url_id, blob_id)
);
CREATE INDEX suspicion_blob_id ON suspicion (blob_id);
