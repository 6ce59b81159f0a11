-- What servers sent clients to fetch, by host and hour, in bytes: all; by clients of its own networks; by the
-- others, with those who were sent elsewhere because there were too many.
CREATE TABLE host_traffic (
    host_id BIGINT NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    hour TIMESTAMP NOT NULL,
    bytes BIGINT NOT NULL,
    own_bytes BIGINT NOT NULL,
    other_bytes BIGINT NOT NULL,
    PRIMARY KEY (host_id, hour)
);

-- So many of a thousand clients stay with a host; all where there is no row.
CREATE TABLE host_load (
    host_id BIGINT PRIMARY KEY REFERENCES host (id) ON DELETE CASCADE,
    kept BIGINT NOT NULL
);

-- What one server saw in some minutes: which networks of a region (a country, or AS and a number) were sent to a
-- host, and which came back. Bitmaps of 256 bits.
CREATE TABLE host_experience (
    host_id BIGINT NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    region TEXT NOT NULL,
    server BIGINT NOT NULL,
    began_at TIMESTAMP NOT NULL,
    asked BYTEA NOT NULL,
    failed BYTEA NOT NULL,
    PRIMARY KEY (host_id, region, server, began_at)
);

-- Whose clients are not sent to a host for a while.
CREATE TABLE host_demotion (
    host_id BIGINT NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    region TEXT NOT NULL,
    until TIMESTAMP NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (host_id, region)
);
