DROP INDEX tag_former_manifest_id;
ALTER TABLE tag DROP COLUMN former_manifest_id;
DROP TABLE host_country_denied;
ALTER TABLE host DROP COLUMN last_lied_at;
ALTER TABLE host DROP COLUMN max_file_size;
ALTER TABLE host DROP COLUMN daily_bytes;
ALTER TABLE host DROP COLUMN client_share;
ALTER TABLE host DROP COLUMN kind;
DROP TABLE withdrawal;
