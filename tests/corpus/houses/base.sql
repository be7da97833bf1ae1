-- A database for each agency: two roles each, one pool that becomes them, public closed.
CREATE ROLE key_pool LOGIN NOINHERIT;
CREATE ROLE own_nord NOLOGIN;
CREATE ROLE own_sued NOLOGIN;
CREATE ROLE rw_nord NOLOGIN;
CREATE ROLE rw_sued NOLOGIN;
CREATE ROLE ro_nord LOGIN;
CREATE ROLE ro_sued LOGIN;
GRANT rw_nord, rw_sued TO key_pool;
ALTER DATABASE estate_nord OWNER TO own_nord;
ALTER DATABASE estate_sued OWNER TO own_sued;
REVOKE ALL ON DATABASE estate_nord, estate_sued FROM PUBLIC;
GRANT CONNECT ON DATABASE estate_nord TO key_pool, rw_nord, ro_nord;
GRANT CONNECT ON DATABASE estate_sued TO key_pool, rw_sued, ro_sued;
\connect estate_nord
CREATE SCHEMA agency AUTHORIZATION own_nord;
SET ROLE own_nord;
CREATE TABLE agency.house (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, street text NOT NULL);
INSERT INTO agency.house (street) VALUES ('north street');
GRANT USAGE ON SCHEMA agency TO rw_nord, ro_nord;
GRANT SELECT, INSERT, UPDATE, DELETE ON agency.house TO rw_nord;
GRANT SELECT ON agency.house TO ro_nord;
\connect estate_sued
CREATE SCHEMA agency AUTHORIZATION own_sued;
SET ROLE own_sued;
CREATE TABLE agency.house (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, street text NOT NULL);
INSERT INTO agency.house (street) VALUES ('south street');
GRANT USAGE ON SCHEMA agency TO rw_sued, ro_sued;
GRANT SELECT, INSERT, UPDATE, DELETE ON agency.house TO rw_sued;
GRANT SELECT ON agency.house TO ro_sued;
