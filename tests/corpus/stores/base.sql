-- Under tenantctl's names: schemas, owners, a pool that inherits nothing, and a common schema of functions.
CREATE ROLE tills LOGIN NOINHERIT;
CREATE ROLE commons_owner NOLOGIN;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA commons AUTHORIZATION commons_owner;
SET ROLE commons_owner;
CREATE FUNCTION commons.round_up(cents bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT (($1 + 4) / 5) * 5';
CREATE TABLE commons.unit (code text PRIMARY KEY, grams integer NOT NULL);
INSERT INTO commons.unit VALUES ('kg', 1000);
RESET ROLE;
DO $$
DECLARE tenant text;
BEGIN
    FOREACH tenant IN ARRAY ARRAY['pear', 'plum'] LOOP
        EXECUTE format('CREATE ROLE tenant_%s_owner NOLOGIN', tenant);
        EXECUTE format('CREATE ROLE app_tenant_%s NOLOGIN', tenant);
        EXECUTE format('CREATE ROLE ro_tenant_%s NOLOGIN', tenant);
        EXECUTE format('GRANT app_tenant_%1$s, ro_tenant_%1$s TO tills', tenant);
        EXECUTE format('CREATE SCHEMA tenant_%1$s AUTHORIZATION tenant_%1$s_owner', tenant);
        EXECUTE format('GRANT USAGE ON SCHEMA tenant_%1$s TO app_tenant_%1$s, ro_tenant_%1$s', tenant);
        EXECUTE format('GRANT USAGE ON SCHEMA commons TO app_tenant_%1$s, ro_tenant_%1$s, tenant_%1$s_owner', tenant);
        EXECUTE format('GRANT SELECT ON commons.unit TO app_tenant_%1$s, ro_tenant_%1$s', tenant);
        EXECUTE format('GRANT SELECT, REFERENCES ON commons.unit TO tenant_%1$s_owner', tenant);
        EXECUTE format('SET LOCAL ROLE tenant_%s_owner', tenant);
        EXECUTE format('CREATE TABLE tenant_%s.article (ean text PRIMARY KEY, unit text NOT NULL REFERENCES commons.unit, cents bigint NOT NULL)', tenant);
        EXECUTE format('CREATE SEQUENCE tenant_%s.receipt', tenant);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_%1$s.article TO app_tenant_%1$s', tenant);
        EXECUTE format('GRANT USAGE ON SEQUENCE tenant_%1$s.receipt TO app_tenant_%1$s', tenant);
        EXECUTE format('GRANT SELECT ON tenant_%1$s.article TO ro_tenant_%1$s', tenant);
        EXECUTE format('INSERT INTO tenant_%1$s.article VALUES (%1$L, ''kg'', 100)', tenant);
        RESET ROLE;
    END LOOP;
END $$;
