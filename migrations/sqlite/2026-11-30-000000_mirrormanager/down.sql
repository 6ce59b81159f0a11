ALTER TABLE country_continent_redirect DROP COLUMN imported;
ALTER TABLE netblock_country DROP COLUMN imported;
DROP TABLE repository_alias;
DROP TABLE embargoed_country;
DROP TABLE site_admin;
DROP TABLE imported_host;
DROP TABLE imported_site;
