-- A token in one setting, as JSON; only the tenant's claim is looked at.
CREATE ROLE claim_owner NOLOGIN;
CREATE ROLE gateway LOGIN NOINHERIT;
CREATE ROLE signed_in NOLOGIN;
GRANT signed_in TO gateway;
CREATE SCHEMA data AUTHORIZATION claim_owner;
GRANT USAGE ON SCHEMA data TO signed_in;
SET ROLE claim_owner;
CREATE FUNCTION data.claim(name text) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> $1 $$;
CREATE TABLE data.device (tenant text NOT NULL, serial text NOT NULL, state jsonb NOT NULL DEFAULT '{}', PRIMARY KEY (tenant, serial));
CREATE TABLE data.alarm (tenant text NOT NULL, serial text NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (tenant, serial, at),
    FOREIGN KEY (tenant, serial) REFERENCES data.device);
ALTER TABLE data.device ENABLE ROW LEVEL SECURITY; ALTER TABLE data.device FORCE ROW LEVEL SECURITY;
ALTER TABLE data.alarm ENABLE ROW LEVEL SECURITY; ALTER TABLE data.alarm FORCE ROW LEVEL SECURITY;
CREATE POLICY claim ON data.device TO signed_in USING (tenant = (SELECT data.claim('tenant')));
CREATE POLICY claim ON data.alarm TO signed_in USING (tenant = (SELECT data.claim('tenant')));
GRANT SELECT, INSERT, UPDATE, DELETE ON data.device, data.alarm TO signed_in;
RESET ROLE;
INSERT INTO data.device (tenant, serial) VALUES ('kiwi', 'K1'), ('lime', 'L1');
INSERT INTO data.alarm (tenant, serial) SELECT tenant, serial FROM data.device;
