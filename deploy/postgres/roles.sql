-- One role for each command, with no more rights than it needs. Run it as a superuser, in Portolan's database, after
-- each `portolan migrate`, for new tables bring new rights; again and again does no harm:
--
--     psql --dbname portolan --file roles.sql
--
-- The last line says whether something changed. Roles log in as the user of the machine that has their name (`peer`, in
-- pg_hba.conf), or by a password that you give them (`ALTER ROLE portolan_serve PASSWORD '…'`). `export` needs none.

\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on

SELECT md5(string_agg(relname || coalesce(relacl::text, ''), ' ' ORDER BY relname)) AS before
FROM pg_class WHERE relnamespace = 'public'::regnamespace \gset
SELECT count(*) AS roles_before FROM pg_roles WHERE rolname ~ '^portolan' \gset

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY['portolan_scan', 'portolan_crawl', 'portolan_serve', 'portolan_admin', 'portolan_run']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

BEGIN;
-- As long as no table is made, nobody but the owner may make one.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO portolan_scan, portolan_crawl, portolan_serve, portolan_admin;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM portolan_scan, portolan_crawl, portolan_serve, portolan_admin;

-- All read everything; but the hashes of tokens and passwords are for those who compare and make them.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO portolan_scan, portolan_crawl, portolan_serve, portolan_admin;
REVOKE SELECT ON host_token, account, session, account_token, identity, audit, approval FROM portolan_scan, portolan_crawl;

-- `scan`, `export --watch`: content. It makes hosts due for a crawl.
GRANT INSERT, UPDATE, DELETE ON category, category_serial, blob, blob_number, body, manifest, manifest_blob, referrer,
    repository, repository_manifest, category_repository, tag, pieces TO portolan_scan;
GRANT UPDATE ON generation, crawl_schedule TO portolan_scan;

-- `crawl`: what mirrors hold, whether they answer, and when they are crawled.
GRANT INSERT, UPDATE, DELETE ON crawl, crawl_schedule, crawl_cycle, holdings, propagation, repair, url_facts, host_use,
    prober, host_load, host_demotion, budget_alert TO portolan_crawl;
GRANT UPDATE, DELETE ON suspicion, url_traffic, host_traffic, host_experience, host_day_traffic, way_traffic,
    country_traffic TO portolan_crawl;
GRANT UPDATE ON generation, host, host_category_url TO portolan_crawl;

-- `serve`: where clients are sent, what they came back for, and the reports of mirrors.
GRANT INSERT, UPDATE ON url_traffic, suspicion, holdings, propagation, host_use, host_traffic, host_experience,
    host_day_traffic, way_traffic, country_traffic TO portolan_serve;
GRANT INSERT, UPDATE, DELETE ON demand TO portolan_serve;
GRANT INSERT ON crawl TO portolan_serve;
GRANT UPDATE ON crawl_schedule, host_token, host, host_category_url, generation TO portolan_serve;

-- People: `site`, `host`, `netblock`, `category`, `content`, `country`, `account`, `explain`, `statistics`; `import
-- mirrormanager`, `dump`. With `sign_in` in [accounts], `serve` does the same for those who have an account: GRANT portolan_admin TO
-- portolan_serve.
GRANT INSERT, UPDATE, DELETE ON site, host, host_category, host_category_url, host_category_rsync, host_netblock,
    host_peer_asn, host_country_allowed, host_country_denied, host_token, netblock_country, country_continent_redirect,
    account, site_account, session, account_token, identity, audit, approval, withdrawal, crawl_schedule, repository_alias, imported_site, imported_host, site_admin,
    embargoed_country TO portolan_admin;
GRANT UPDATE ON category, tag, generation TO portolan_admin;
-- `dump`: which ids were given. (`restore` is for the owner.)
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO portolan_admin;

-- `run` does what these three do. With [mirrormanager] it imports, too: GRANT portolan_admin TO portolan_run.
GRANT portolan_scan, portolan_crawl, portolan_serve TO portolan_run;
COMMIT;

SELECT md5(string_agg(relname || coalesce(relacl::text, ''), ' ' ORDER BY relname)) = :'before' AS same_rights
FROM pg_class WHERE relnamespace = 'public'::regnamespace \gset
SELECT count(*) = :roles_before AS same_roles FROM pg_roles WHERE rolname ~ '^portolan' \gset
\if :same_rights
    \if :same_roles
        \echo unchanged
    \else
        \echo changed
    \endif
\else
    \echo changed
\endif
