DROP TABLE suspicion;
DROP TABLE prober;
DROP TABLE url_traffic;
