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
