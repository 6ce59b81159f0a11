-- The tables of MirrorManager2 that an import reads, with a small network in them. Types and constraints are those of its
-- models: no column has a default, and names are unique only where it says so.
CREATE TABLE site (
    id integer PRIMARY KEY, name text NOT NULL, password text, org_url text, private boolean NOT NULL,
    admin_active boolean NOT NULL, user_active boolean NOT NULL, created_at timestamp NOT NULL, created_by text NOT NULL,
    all_sites_can_pull_from_me boolean NOT NULL, downstream_comments text, email_on_drop boolean NOT NULL,
    email_on_add boolean NOT NULL
);
CREATE TABLE site_admin (id integer PRIMARY KEY, username text, site_id integer NOT NULL REFERENCES site (id));
CREATE TABLE host (
    id integer PRIMARY KEY, name text NOT NULL, site_id integer REFERENCES site (id), robot_email text,
    admin_active boolean NOT NULL, user_active boolean NOT NULL, country text NOT NULL, bandwidth_int integer, comment text,
    config bytea, last_checked_in timestamp, last_crawled timestamp, private boolean NOT NULL, internet2 boolean NOT NULL,
    internet2_clients boolean NOT NULL, asn integer, asn_clients boolean NOT NULL, max_connections integer NOT NULL,
    last_crawl_duration bigint, crawl_failures integer NOT NULL, disable_reason text, push_ssh_private_key text,
    push_ssh_host text, push_ssh_command text, last_crawls bytea, latitude double precision, longitude double precision,
    UNIQUE (site_id, name)
);
CREATE TABLE category (
    id integer PRIMARY KEY, name text NOT NULL UNIQUE, canonicalhost text, publiclist boolean NOT NULL, geo_dns_domain text,
    admin_only boolean, product_id integer, topdir_id integer
);
CREATE TABLE host_category (
    id integer PRIMARY KEY, host_id integer REFERENCES host (id), category_id integer REFERENCES category (id),
    always_up2date boolean NOT NULL, UNIQUE (host_id, category_id)
);
CREATE TABLE host_category_url (
    id integer PRIMARY KEY, host_category_id integer NOT NULL REFERENCES host_category (id), url text NOT NULL UNIQUE,
    private boolean NOT NULL
);
CREATE TABLE host_netblock (id integer PRIMARY KEY, netblock text, name text, host_id integer REFERENCES host (id));
CREATE TABLE host_peer_asn (
    id integer PRIMARY KEY, asn integer NOT NULL, name text, host_id integer REFERENCES host (id), UNIQUE (host_id, asn)
);
CREATE TABLE host_country_allowed (
    id integer PRIMARY KEY, country text NOT NULL UNIQUE, host_id integer REFERENCES host (id)
);
CREATE TABLE netblock_country (id integer PRIMARY KEY, netblock text NOT NULL UNIQUE, country text NOT NULL);
CREATE TABLE country_continent_redirect (id integer PRIMARY KEY, country text NOT NULL UNIQUE, continent text NOT NULL);
CREATE TABLE embargoed_country (id integer PRIMARY KEY, country_code text NOT NULL UNIQUE);
CREATE TABLE repository_redirect (id integer PRIMARY KEY, to_repo text, from_repo text NOT NULL UNIQUE);

INSERT INTO site VALUES
    (1, 'University', 'secret', 'https://www.example.org/', false, true, true, '2016-01-01', 'a', true, NULL, false, false),
    (2, 'University', NULL, 'javascript:alert(1)', false, true, true, '2016-01-01', 'b', true, NULL, false, false),
    (3, 'Company', NULL, NULL, true, true, true, '2016-01-01', 'c', true, NULL, false, false),
    (4, 'Packages only', NULL, NULL, false, true, true, '2016-01-01', 'c', true, NULL, false, false);
INSERT INTO site_admin VALUES
    (1, 'anna', 1), (2, 'bert', 1), (3, NULL, 1), (4, 'with space', 1), (5, 'carl', 3), (6, 'dora', 4);
INSERT INTO category VALUES
    (1, 'Fedora Linux', NULL, true, NULL, NULL, 1, NULL), (2, 'Fedora Containers', NULL, true, NULL, false, 1, 7);
INSERT INTO host (id, name, site_id, admin_active, user_active, country, bandwidth_int, comment, private, internet2,
    internet2_clients, asn, asn_clients, max_connections, crawl_failures, latitude, longitude) VALUES
    (1, 'm1.example.org', 1, true, true, 'de', 1000, 'since 1999', false, false, false, 64500, true, 1, 0, 52.5, 13.4),
    (2, 'Extra Mirror', 1, true, true, 'FR', NULL, NULL, false, true, true, 0, false, 1, 0, NULL, NULL),
    (3, 'M1.example.org', 1, true, true, 'DE', 100, NULL, false, false, false, NULL, true, 1, 0, NULL, NULL),
    (4, 'm1.example.org', 2, true, false, 'UK', -5, NULL, false, false, false, NULL, true, 1, 4, 99, 999),
    (5, 'inside', 3, true, true, 'US', 100, NULL, true, false, false, NULL, true, 1, 0, NULL, NULL),
    (6, 'master', 1, true, true, 'US', 9000000, NULL, false, false, false, NULL, true, 1, 0, NULL, NULL),
    (7, 'choosy', 2, true, true, 'SE', 100, NULL, false, false, false, NULL, true, 1, 0, NULL, NULL),
    (8, 'packages', 4, true, true, 'SE', 100, NULL, false, false, false, NULL, true, 1, 0, NULL, NULL);
INSERT INTO host_category VALUES
    (1, 1, 2, false), (2, 2, 2, false), (3, 3, 2, false), (4, 4, 2, false), (5, 5, 2, false), (6, 6, 2, true),
    (7, 7, 2, false), (8, 8, 1, false), (9, 1, 1, false), (10, NULL, 2, false);
INSERT INTO host_category_url VALUES
    (1, 1, 'https://m1.example.org/pub/containers/', false), (2, 1, 'rsync://m1.example.org/containers', true),
    (3, 1, 'https://m1.example.org/for/mirrors', true), (4, 2, 'http://extra.example.org/containers', false),
    (5, 2, 'http://extra.example.org/with space', false), (6, 2, 'ftp://extra.example.org/containers', false),
    (7, 4, 'HTTPS://M1.example.org/pub/containers', false), (8, 4, 'https://m4.example.org/c', false),
    (9, 5, 'http://inside.example.org/c', false), (10, 6, 'https://master.example.org/c', false),
    (11, 7, 'https://choosy.example.org/c', false), (12, 8, 'https://packages.example.org/fedora', false),
    (13, 9, 'https://m1.example.org/pub/fedora', false);
INSERT INTO host_netblock VALUES
    (1, '192.0.2.0/24', 'campus', 1), (2, '198.51.100.7', 'one', 1), (3, '203.0.113.0/255.255.255.128', NULL, 1),
    (4, 'us.mirror.test', 'by name', 5), (5, 'no.such.name.invalid', 'by name', 5), (6, '10.0.0.0/33', 'slip', 1),
    (7, '0.0.0.0/0', 'all', 2), (8, NULL, NULL, 2), (9, '192.0.2.9/24', 'campus again', 1), (10, '2001:db8::/32', 'six', 5);
INSERT INTO host_peer_asn VALUES (1, 64501, 'peer', 1), (2, -1, 'the last number', 1), (3, 0, 'none', 1);
INSERT INTO host_country_allowed VALUES (1, 'SE', 7), (2, 'no', 7), (3, 'Denmark', 7);
INSERT INTO netblock_country VALUES (1, '198.51.100.0/24', 'FR'), (2, 'bogus', 'FR'), (3, '203.0.113.0/24', '??');
INSERT INTO country_continent_redirect VALUES (1, 'IL', 'EU'), (2, 'AM', 'XX');
INSERT INTO embargoed_country VALUES (1, 'kp'), (2, 'nowhere');
INSERT INTO repository_redirect VALUES
    (1, 'fedora', 'old/fedora'), (2, NULL, 'empty'), (3, 'Upper', 'lower'), (4, 'same', 'same');
