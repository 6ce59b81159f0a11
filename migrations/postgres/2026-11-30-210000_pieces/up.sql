-- The SHA-256 of each piece of a blob that is cut into pieces, with a check, as the tree keeps them.
CREATE TABLE pieces (
    blob_id BIGINT NOT NULL PRIMARY KEY REFERENCES blob (id) ON DELETE CASCADE,
    bytes BYTEA NOT NULL
);
