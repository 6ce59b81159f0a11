-- Where the crawler may list an opt-in's folder by rsync. Clients never see it.
CREATE TABLE host_category_rsync (
    host_category_id INTEGER NOT NULL PRIMARY KEY REFERENCES host_category (id) ON DELETE CASCADE,
    url TEXT NOT NULL
) STRICT;

-- How a URL answers, for its admin: nothing is decided by it.
CREATE TABLE url_facts (
    host_category_url_id INTEGER NOT NULL PRIMARY KEY REFERENCES host_category_url (id) ON DELETE CASCADE,
    bytes_per_second INTEGER,
    multi_range TEXT,
    keeps_alive INTEGER,
    checked_at TEXT NOT NULL
) STRICT;

-- What was asked of a host on a day (days since 1970, UTC), to keep to its budget.
CREATE TABLE host_use (
    host_id INTEGER NOT NULL PRIMARY KEY REFERENCES host (id) ON DELETE CASCADE,
    day INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

-- Which files of an opt-in were looked at and read since when: roaring bitmaps of blob numbers.
CREATE TABLE crawl_cycle (
    host_category_id INTEGER NOT NULL PRIMARY KEY REFERENCES host_category (id) ON DELETE CASCADE,
    started_at TEXT NOT NULL,
    looked BLOB NOT NULL,
    bodies_since TEXT NOT NULL,
    bodies BLOB NOT NULL,
    serial INTEGER,
    caught_at TEXT
) STRICT;

-- What a host's admin has to repair.
CREATE TABLE repair (
    host_category_id INTEGER NOT NULL REFERENCES host_category (id) ON DELETE CASCADE,
    blob_id INTEGER NOT NULL REFERENCES blob (id) ON DELETE CASCADE,
    fault TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (host_category_id, blob_id)
) STRICT;
CREATE INDEX repair_blob_id ON repair (blob_id);
