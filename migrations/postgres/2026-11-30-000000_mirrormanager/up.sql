-- Sites and hosts that an import keeps: mirrormanager_id is the id of the row in MirrorManager. All others are ours.
CREATE TABLE imported_site (
    site_id BIGINT NOT NULL PRIMARY KEY REFERENCES site (id) ON DELETE CASCADE,
    mirrormanager_id BIGINT NOT NULL UNIQUE
);

CREATE TABLE imported_host (
    host_id BIGINT NOT NULL PRIMARY KEY REFERENCES host (id) ON DELETE CASCADE,
    mirrormanager_id BIGINT NOT NULL UNIQUE
);

-- Names of the accounts that may edit a site.
CREATE TABLE site_admin (
    site_id BIGINT NOT NULL REFERENCES site (id) ON DELETE CASCADE,
    username TEXT NOT NULL,
    PRIMARY KEY (site_id, username)
);

-- Countries under embargo beside those of the configuration.
CREATE TABLE embargoed_country (
    country TEXT NOT NULL PRIMARY KEY
);

-- Former names of repositories, answered as the repository until they expire.
CREATE TABLE repository_alias (
    alias TEXT NOT NULL PRIMARY KEY,
    repository TEXT NOT NULL,
    expires_at TIMESTAMP,
    imported BOOLEAN NOT NULL DEFAULT FALSE
);

-- Kept by an import, unless people set them here.
ALTER TABLE netblock_country ADD COLUMN imported BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE country_continent_redirect ADD COLUMN imported BOOLEAN NOT NULL DEFAULT FALSE;
