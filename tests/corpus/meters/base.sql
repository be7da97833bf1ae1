-- Old time series: one inheritance child for each year, made before partitions existed.
CREATE ROLE grid_owner NOLOGIN;
CREATE ROLE grid_in LOGIN;
CREATE ROLE grid_out LOGIN;
CREATE SCHEMA grid AUTHORIZATION grid_owner;
GRANT USAGE ON SCHEMA grid TO grid_in, grid_out;
SET ROLE grid_owner;
CREATE TABLE grid.reading (utility bigint NOT NULL, meter text NOT NULL, at timestamptz NOT NULL, kwh numeric NOT NULL);
CREATE TABLE grid.reading_2025 (CHECK (at >= '2025-01-01' AND at < '2026-01-01')) INHERITS (grid.reading);
CREATE TABLE grid.reading_2026 (CHECK (at >= '2026-01-01' AND at < '2027-01-01')) INHERITS (grid.reading);
CREATE INDEX ON grid.reading_2025 (utility, at);
CREATE INDEX ON grid.reading_2026 (utility, at);
ALTER TABLE grid.reading ENABLE ROW LEVEL SECURITY;
CREATE POLICY utility ON grid.reading USING (utility = (SELECT nullif(current_setting('grid.utility', true), '')::bigint));
GRANT SELECT ON grid.reading TO grid_out;
GRANT INSERT ON grid.reading TO grid_in;
RESET ROLE;
INSERT INTO grid.reading_2025 VALUES (501, 'a', '2025-05-05', 1), (502, 'b', '2025-05-05', 2);
INSERT INTO grid.reading_2026 VALUES (501, 'a', '2026-05-05', 3), (502, 'b', '2026-05-05', 4);
