-- When each host is crawled next, and which crawler has it now. not_before: until then it wants to be left alone.
-- crawled_at is when the last crawl that was stored began.
CREATE TABLE crawl_schedule (
    host_id INTEGER NOT NULL PRIMARY KEY REFERENCES host (id) ON DELETE CASCADE,
    next_crawl_at TEXT NOT NULL,
    not_before TEXT,
    crawled_at TEXT,
    holder TEXT,
    leased_until TEXT
) STRICT;
CREATE INDEX crawl_schedule_next_crawl_at ON crawl_schedule (next_crawl_at);
INSERT INTO crawl_schedule (host_id, next_crawl_at) SELECT id, created_at FROM host;

-- Since and until when a host showed and held a serial; until is null as long as it does.
CREATE TABLE propagation (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    host_category_id INTEGER NOT NULL REFERENCES host_category (id) ON DELETE CASCADE,
    serial INTEGER NOT NULL,
    since TEXT NOT NULL,
    until TEXT
) STRICT;
CREATE INDEX propagation_host_category_id ON propagation (host_category_id);

-- By which a host's own scripts report. Of the token itself only the SHA-256 is kept.
CREATE TABLE host_token (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    hash BLOB NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    used_at TEXT
) STRICT;
CREATE INDEX host_token_host_id ON host_token (host_id);
