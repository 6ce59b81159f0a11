-- What migrations/sqlite adds up to; tests/schema.rs compares the two.

-- Organisations that run hosts.
CREATE TABLE site (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    org_url TEXT,
    private INTEGER NOT NULL DEFAULT FALSE,
    user_active INTEGER NOT NULL DEFAULT TRUE,
    admin_active INTEGER NOT NULL DEFAULT TRUE,
    created_at TEXT NOT NULL
) STRICT;

-- Off by its admins (user_active), by the operators (admin_active), by the crawler (auto_disabled_at): three states.
CREATE TABLE host (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    site_id INTEGER NOT NULL REFERENCES site (id) ON DELETE CASCADE,
    name TEXT NOT NULL UNIQUE,
    country TEXT,
    latitude REAL,
    longitude REAL,
    asn INTEGER,
    asn_clients INTEGER NOT NULL DEFAULT TRUE,
    bandwidth INTEGER,
    private INTEGER NOT NULL DEFAULT FALSE,
    user_active INTEGER NOT NULL DEFAULT TRUE,
    admin_active INTEGER NOT NULL DEFAULT TRUE,
    auto_disabled_at TEXT,
    auto_disabled_reason TEXT,
    drained INTEGER NOT NULL DEFAULT FALSE,
    contacts TEXT NOT NULL DEFAULT '',
    comment TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    last_crawled_at TEXT,
    last_crawl_ms INTEGER,
    crawl_failures INTEGER NOT NULL DEFAULT 0
, kind TEXT NOT NULL DEFAULT 'static', client_share INTEGER, daily_bytes INTEGER, max_file_size INTEGER, last_lied_at TEXT) STRICT;
CREATE INDEX host_site_id ON host (site_id);

-- Made and retired by the scanner; people edit description and visible only.
CREATE TABLE category (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL DEFAULT '',
    visible INTEGER NOT NULL DEFAULT TRUE,
    selection TEXT NOT NULL,
    serial INTEGER NOT NULL,
    inventory_digest BLOB NOT NULL,
    retired_at TEXT
) STRICT;

-- A host's opt-in.
CREATE TABLE host_category (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    category_id INTEGER NOT NULL REFERENCES category (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    drained INTEGER NOT NULL DEFAULT FALSE,
    UNIQUE (host_id, category_id)
) STRICT;
CREATE INDEX host_category_category_id ON host_category (category_id);

CREATE TABLE host_category_url (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    host_category_id INTEGER NOT NULL REFERENCES host_category (id) ON DELETE CASCADE,
    url TEXT NOT NULL UNIQUE,
    ipv4_reach TEXT NOT NULL DEFAULT 'unknown',
    ipv6_reach TEXT NOT NULL DEFAULT 'unknown',
    reach_reason TEXT,
    probed_at TEXT
) STRICT;
CREATE INDEX host_category_url_host_category_id ON host_category_url (host_category_id);

CREATE TABLE host_netblock (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    netblock TEXT NOT NULL,
    name TEXT NOT NULL DEFAULT '',
    UNIQUE (host_id, netblock)
) STRICT;

CREATE TABLE host_peer_asn (
    host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    asn INTEGER NOT NULL,
    name TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (host_id, asn)
) STRICT;

CREATE TABLE host_country_allowed (
    host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    country TEXT NOT NULL,
    PRIMARY KEY (host_id, country)
) STRICT;

CREATE TABLE host_country_denied (
    host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    country TEXT NOT NULL,
    PRIMARY KEY (host_id, country)
) STRICT;

CREATE TABLE country_continent_redirect (
    country TEXT NOT NULL PRIMARY KEY,
    continent TEXT NOT NULL
, imported INTEGER NOT NULL DEFAULT FALSE) STRICT;

CREATE TABLE netblock_country (
    netblock TEXT NOT NULL PRIMARY KEY,
    country TEXT NOT NULL
, imported INTEGER NOT NULL DEFAULT FALSE) STRICT;

-- id is the number of the blob in every bitmap: 1 to 2^32-1, never given twice.
CREATE TABLE blob (
    id INTEGER NOT NULL PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL
) STRICT;

-- The highest number ever given to a blob. One row.
CREATE TABLE blob_number (
    last INTEGER NOT NULL PRIMARY KEY
) STRICT;
INSERT INTO blob_number (last) VALUES (0);

CREATE TABLE manifest (
    blob_id INTEGER NOT NULL PRIMARY KEY REFERENCES blob (id) ON DELETE CASCADE,
    media_type TEXT NOT NULL,
    artifact_type TEXT
) STRICT;

-- What a manifest names, as far as it is in the tree.
CREATE TABLE manifest_blob (
    manifest_id INTEGER NOT NULL REFERENCES manifest (blob_id) ON DELETE CASCADE,
    blob_id INTEGER NOT NULL REFERENCES blob (id) ON DELETE CASCADE,
    PRIMARY KEY (manifest_id, blob_id)
) STRICT;
CREATE INDEX manifest_blob_blob_id ON manifest_blob (blob_id);

-- Manifests and small blobs, to be served without a mirror.
CREATE TABLE body (
    blob_id INTEGER NOT NULL PRIMARY KEY REFERENCES blob (id) ON DELETE CASCADE,
    bytes BLOB NOT NULL
) STRICT;

-- The SHA-256 of each piece of a blob that is cut into pieces, with a check, as the tree keeps them.
CREATE TABLE pieces (
    blob_id INTEGER NOT NULL PRIMARY KEY REFERENCES blob (id) ON DELETE CASCADE,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE referrer (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    subject BLOB NOT NULL,
    manifest_id INTEGER NOT NULL REFERENCES manifest (blob_id) ON DELETE CASCADE,
    artifact_type TEXT,
    descriptor TEXT NOT NULL,
    UNIQUE (subject, manifest_id)
) STRICT;
CREATE INDEX referrer_manifest_id ON referrer (manifest_id);

CREATE TABLE repository (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- The manifests a repository has or had, as long as they are in the tree.
CREATE TABLE repository_manifest (
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    manifest_id INTEGER NOT NULL REFERENCES manifest (blob_id) ON DELETE CASCADE,
    PRIMARY KEY (repository_id, manifest_id)
) STRICT;
CREATE INDEX repository_manifest_manifest_id ON repository_manifest (manifest_id);

CREATE TABLE category_repository (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    category_id INTEGER NOT NULL REFERENCES category (id) ON DELETE CASCADE,
    repository_id INTEGER NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    UNIQUE (category_id, repository_id)
) STRICT;
CREATE INDEX category_repository_repository_id ON category_repository (repository_id);

-- Tags as each category has them: two categories may carry the same repository, exported at different times.
CREATE TABLE tag (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    category_repository_id INTEGER NOT NULL REFERENCES category_repository (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    manifest_id INTEGER NOT NULL REFERENCES manifest (blob_id) ON DELETE CASCADE,
    updated_at TEXT NOT NULL,
    former_manifest_id INTEGER REFERENCES manifest (blob_id) ON DELETE SET NULL,
    UNIQUE (category_repository_id, name)
) STRICT;
CREATE INDEX tag_manifest_id ON tag (manifest_id);
CREATE INDEX tag_former_manifest_id ON tag (former_manifest_id);

-- The published states of a category: blobs is a roaring bitmap of blob numbers in the portable format.
CREATE TABLE category_serial (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    category_id INTEGER NOT NULL REFERENCES category (id) ON DELETE CASCADE,
    serial INTEGER NOT NULL,
    inventory_digest BLOB NOT NULL,
    blobs BLOB NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (category_id, serial)
) STRICT;

-- What a host holds of a category. crawled_at is when a crawl last confirmed blobs.
CREATE TABLE holdings (
    host_category_id INTEGER NOT NULL PRIMARY KEY REFERENCES host_category (id) ON DELETE CASCADE,
    serial INTEGER,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    blobs BLOB NOT NULL,
    crawled_at TEXT NOT NULL
) STRICT;

CREATE TABLE crawl (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    started_at TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    log TEXT NOT NULL
) STRICT;
CREATE INDEX crawl_host_id ON crawl (host_id, id);

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

-- Counts the changes of each part of the snapshot.
CREATE TABLE generation (
    part TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO generation (part, value) VALUES ('content', 0), ('holdings', 0), ('hosts', 0);

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
, certificate_ends_at TEXT) STRICT;

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

-- What is not answered any more, by digest, for it outlives the blob's row. blob_id is the blob's number, if it had one.
CREATE TABLE withdrawal (
    digest BLOB NOT NULL PRIMARY KEY,
    blob_id INTEGER,
    reason TEXT NOT NULL,
    legal INTEGER NOT NULL,
    withdrawn_at TEXT NOT NULL
) STRICT;

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

-- What servers sent clients to fetch, by host and hour, in bytes: all; by clients of its own networks; by the
-- others, with those who were sent elsewhere because there were too many.
CREATE TABLE host_traffic (
    host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    hour TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    own_bytes INTEGER NOT NULL,
    other_bytes INTEGER NOT NULL,
    PRIMARY KEY (host_id, hour)
) STRICT;

-- So many of a thousand clients stay with a host; all where there is no row.
CREATE TABLE host_load (
    host_id INTEGER NOT NULL PRIMARY KEY REFERENCES host (id) ON DELETE CASCADE,
    kept INTEGER NOT NULL
) STRICT;

-- What one server saw in some minutes: which networks of a region (a country, or AS and a number) were sent to a
-- host, and which came back. Bitmaps of 256 bits.
CREATE TABLE host_experience (
    host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    region TEXT NOT NULL,
    server INTEGER NOT NULL,
    began_at TEXT NOT NULL,
    asked BLOB NOT NULL,
    failed BLOB NOT NULL,
    PRIMARY KEY (host_id, region, server, began_at)
) STRICT;

-- Whose clients are not sent to a host for a while.
CREATE TABLE host_demotion (
    host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    region TEXT NOT NULL,
    until TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (host_id, region)
) STRICT;

-- When a client last asked for a blob, as far as servers told. Lossy; no answer depends on it.
CREATE TABLE demand (
    blob_id INTEGER NOT NULL PRIMARY KEY REFERENCES blob (id) ON DELETE CASCADE,
    asked_at TEXT NOT NULL
) STRICT;

-- Sites and hosts that an import keeps: mirrormanager_id is the id of the row in MirrorManager. All others are ours.
CREATE TABLE imported_site (
    site_id INTEGER NOT NULL PRIMARY KEY REFERENCES site (id) ON DELETE CASCADE,
    mirrormanager_id INTEGER NOT NULL UNIQUE
) STRICT;

CREATE TABLE imported_host (
    host_id INTEGER NOT NULL PRIMARY KEY REFERENCES host (id) ON DELETE CASCADE,
    mirrormanager_id INTEGER NOT NULL UNIQUE
) STRICT;

-- Names of the accounts that may edit a site.
CREATE TABLE site_admin (
    site_id INTEGER NOT NULL REFERENCES site (id) ON DELETE CASCADE,
    username TEXT NOT NULL,
    PRIMARY KEY (site_id, username)
) STRICT;

-- Countries under embargo beside those of the configuration.
CREATE TABLE embargoed_country (
    country TEXT NOT NULL PRIMARY KEY
) STRICT;

-- Former names of repositories, answered as the repository until they expire.
CREATE TABLE repository_alias (
    alias TEXT NOT NULL PRIMARY KEY,
    repository TEXT NOT NULL,
    expires_at TEXT,
    imported INTEGER NOT NULL DEFAULT FALSE
) STRICT;

-- People and programs that may change something. password is an argon2id hash in the PHC format; without one nobody signs in by it.
CREATE TABLE account (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    mail TEXT NOT NULL DEFAULT '',
    password TEXT,
    role TEXT NOT NULL,
    active INTEGER NOT NULL DEFAULT TRUE,
    created_at TEXT NOT NULL
) STRICT;

-- Who keeps which site.
CREATE TABLE site_account (
    site_id INTEGER NOT NULL REFERENCES site (id) ON DELETE CASCADE,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    PRIMARY KEY (site_id, account_id)
) STRICT;
CREATE INDEX site_account_account_id ON site_account (account_id);

-- Who is signed in: the SHA-256 of what the browser's cookie says.
CREATE TABLE session (
    hash BLOB NOT NULL PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    used_at TEXT NOT NULL
) STRICT;
CREATE INDEX session_account_id ON session (account_id);

-- By which programs act for an account: the SHA-256 of a token that was shown once. scopes has spaces between them; host_id: the only
-- host that it is good for.
CREATE TABLE account_token (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    host_id INTEGER REFERENCES host (id) ON DELETE CASCADE,
    hash BLOB NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    used_at TEXT
) STRICT;
CREATE INDEX account_token_account_id ON account_token (account_id);
CREATE INDEX account_token_host_id ON account_token (host_id);

-- Who a provider of OpenID Connect says that somebody is: by issuer and subject, which it never gives to another one.
-- made_operator: its account is an operator because of a group there.
CREATE TABLE identity (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    called TEXT NOT NULL,
    made_operator INTEGER NOT NULL DEFAULT FALSE,
    created_at TEXT NOT NULL,
    UNIQUE (issuer, subject),
    UNIQUE (account_id, issuer)
) STRICT;

-- Who changed what. before_change and after_change are JSON objects of what differs; NULL: it was not there, or is no more.
CREATE TABLE audit (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    happened_at TEXT NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT NOT NULL,
    subject_name TEXT NOT NULL,
    before_change TEXT,
    after_change TEXT
) STRICT;
CREATE INDEX audit_happened_at ON audit (happened_at);

-- What captures traffic and waits for an operator.
CREATE TABLE approval (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    wish TEXT NOT NULL,
    value TEXT NOT NULL,
    reason TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    asked_at TEXT NOT NULL,
    UNIQUE (host_id, wish, value)
) STRICT;

-- What servers answered clients, by way, in an hour or a day (UTC). No answer depends on it.
CREATE TABLE way_traffic (
    way TEXT NOT NULL,
    period TEXT NOT NULL CHECK (period IN ('hour', 'day')),
    began_at TEXT NOT NULL,
    requests INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (period, began_at, way)
) STRICT;

-- What clients of a country were sent to fetch in a day.
CREATE TABLE country_traffic (
    country TEXT NOT NULL,
    day TEXT NOT NULL,
    requests INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (day, country)
) STRICT;

-- What clients were sent to a host to fetch in a day; `host_traffic` has the hours.
CREATE TABLE host_day_traffic (
    host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    day TEXT NOT NULL,
    requests INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (host_id, day)
) STRICT;
CREATE INDEX host_day_traffic_day ON host_day_traffic (day);

-- So many percent of a period's budget were spent, and that was told.
CREATE TABLE budget_alert (
    period TEXT NOT NULL CHECK (period IN ('day', 'month')),
    began_at TEXT NOT NULL,
    percent INTEGER NOT NULL,
    PRIMARY KEY (period, began_at, percent)
) STRICT;
