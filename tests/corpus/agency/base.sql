-- What tenantctl's own templates make: a schema, an owner and a role for each tenant, and a pool.
CREATE ROLE app_pool LOGIN NOINHERIT;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE TEMPORARY ON DATABASE app FROM PUBLIC;
DO $$
DECLARE tenant text;
BEGIN
    FOREACH tenant IN ARRAY ARRAY['ada', 'bo', 'cy'] LOOP
        EXECUTE format('CREATE ROLE tenant_%s_owner NOLOGIN', tenant);
        EXECUTE format('CREATE ROLE app_tenant_%s LOGIN', tenant);
        EXECUTE format('GRANT app_tenant_%s TO app_pool', tenant);
        EXECUTE format('CREATE SCHEMA tenant_%1$s AUTHORIZATION tenant_%1$s_owner', tenant);
        EXECUTE format('GRANT USAGE ON SCHEMA tenant_%1$s TO app_tenant_%1$s', tenant);
        EXECUTE format('SET LOCAL ROLE tenant_%s_owner', tenant);
        EXECUTE format('CREATE TABLE tenant_%s.campaign (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), title text NOT NULL)', tenant);
        EXECUTE format('CREATE TABLE tenant_%1$s.click (campaign uuid NOT NULL REFERENCES tenant_%1$s.campaign, at timestamptz NOT NULL DEFAULT now()) PARTITION BY RANGE (at)', tenant);
        EXECUTE format('CREATE TABLE tenant_%1$s.click_all PARTITION OF tenant_%1$s.click DEFAULT', tenant);
        EXECUTE format('CREATE VIEW tenant_%1$s.totals AS SELECT campaign, count(*) AS clicks FROM tenant_%1$s.click GROUP BY campaign', tenant);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_%1$s.campaign, tenant_%1$s.click TO app_tenant_%1$s', tenant);
        EXECUTE format('GRANT SELECT ON tenant_%1$s.totals TO app_tenant_%1$s', tenant);
        EXECUTE format('INSERT INTO tenant_%1$s.campaign (title) VALUES (%1$L)', tenant);
        RESET ROLE;
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE tenant_%1$s_owner IN SCHEMA tenant_%1$s GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app_tenant_%1$s', tenant);
    END LOOP;
END $$;
