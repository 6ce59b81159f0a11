-- Where the crawler may list an opt-in's folder by rsync. Clients never see it.
CREATE TABLE host_category_rsync (
    host_category_id BIGINT NOT NULL PRIMARY KEY REFERENCES host_category (id) ON DELETE CASCADE,
    url TEXT NOT NULL
);

-- How a URL answers, for its admin: nothing is decided by it.
CREATE TABLE url_facts (
    host_category_url_id BIGINT NOT NULL PRIMARY KEY REFERENCES host_category_url (id) ON DELETE CASCADE,
    bytes_per_second BIGINT,
    multi_range TEXT,
    keeps_alive BOOLEAN,
    checked_at TIMESTAMP NOT NULL
);

-- What was asked of a host on a day (days since 1970, UTC), to keep to its budget.
CREATE TABLE host_use (
    host_id BIGINT NOT NULL PRIMARY KEY REFERENCES host (id) ON DELETE CASCADE,
    day BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);

-- Which files of an opt-in were looked at and read since when: roaring bitmaps of blob numbers.
CREATE TABLE crawl_cycle (
    host_category_id BIGINT NOT NULL PRIMARY KEY REFERENCES host_category (id) ON DELETE CASCADE,
    started_at TIMESTAMP NOT NULL,
    looked BYTEA NOT NULL,
    bodies_since TIMESTAMP NOT NULL,
    bodies BYTEA NOT NULL,
    serial BIGINT,
    caught_at TIMESTAMP
);

-- What a host's admin has to repair.
CREATE TABLE repair (
    host_category_id BIGINT NOT NULL REFERENCES host_category (id) ON DELETE CASCADE,
    blob_id BIGINT NOT NULL REFERENCES blob (id) ON DELETE CASCADE,
    fault TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (host_category_id, blob_id)
);
CREATE INDEX repair_blob_id ON repair (blob_id);
