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
