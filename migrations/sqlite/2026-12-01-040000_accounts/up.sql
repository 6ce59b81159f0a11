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
