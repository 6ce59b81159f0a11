-- What is not answered any more, by digest, for it outlives the blob's row. blob_id is the blob's number, if it had one.
CREATE TABLE withdrawal (
    digest BYTEA PRIMARY KEY,
    blob_id BIGINT,
    reason TEXT NOT NULL,
    legal BOOLEAN NOT NULL,
    withdrawn_at TIMESTAMP NOT NULL
);

-- static, pull-through or cdn. client_share in percent; daily_bytes and max_file_size in bytes.
ALTER TABLE host ADD COLUMN kind TEXT NOT NULL DEFAULT 'static';
ALTER TABLE host ADD COLUMN client_share BIGINT;
ALTER TABLE host ADD COLUMN daily_bytes BIGINT;
ALTER TABLE host ADD COLUMN max_file_size BIGINT;
ALTER TABLE host ADD COLUMN last_lied_at TIMESTAMP;

CREATE TABLE host_country_denied (
    host_id BIGINT NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    country TEXT NOT NULL,
    PRIMARY KEY (host_id, country)
);

-- What a tag named before updated_at, as long as it may still be answered.
ALTER TABLE tag ADD COLUMN former_manifest_id BIGINT REFERENCES manifest (blob_id) ON DELETE SET NULL;
CREATE INDEX tag_former_manifest_id ON tag (former_manifest_id);
