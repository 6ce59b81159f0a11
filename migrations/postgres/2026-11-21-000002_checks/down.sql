DROP TABLE repair;
DROP TABLE crawl_cycle;
DROP TABLE host_use;
DROP TABLE url_facts;
DROP TABLE host_category_rsync;
