DROP TABLE host_token;
DROP TABLE propagation;
DROP TABLE crawl_schedule;
