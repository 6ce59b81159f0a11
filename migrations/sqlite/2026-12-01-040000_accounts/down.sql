DROP TABLE approval;
DROP TABLE audit;
DROP TABLE session;
DROP TABLE site_account;
DROP TABLE account;
