DROP TABLE host_demotion;
DROP TABLE host_experience;
DROP TABLE host_load;
DROP TABLE host_traffic;
