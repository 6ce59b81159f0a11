-- What servers answered clients, by way, in an hour or a day (UTC). No answer depends on it.
CREATE TABLE way_traffic (
    way TEXT NOT NULL,
    period TEXT NOT NULL CHECK (period IN ('hour', 'day')),
    began_at TEXT NOT NULL,
    requests INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (period, began_at, way)
) STRICT;

-- What clients of a country were sent to fetch in a day.
CREATE TABLE country_traffic (
    country TEXT NOT NULL,
    day TEXT NOT NULL,
    requests INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (day, country)
) STRICT;

-- What clients were sent to a host to fetch in a day; `host_traffic` has the hours.
CREATE TABLE host_day_traffic (
    host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
    day TEXT NOT NULL,
    requests INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (host_id, day)
) STRICT;
CREATE INDEX host_day_traffic_day ON host_day_traffic (day);

-- So many percent of a period's budget were spent, and that was told.
CREATE TABLE budget_alert (
    period TEXT NOT NULL CHECK (period IN ('day', 'month')),
    began_at TEXT NOT NULL,
    percent INTEGER NOT NULL,
    PRIMARY KEY (period, began_at, percent)
) STRICT;
