DROP TABLE budget_alert;
DROP TABLE host_day_traffic;
DROP TABLE country_traffic;
DROP TABLE way_traffic;
