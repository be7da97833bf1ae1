-- What tenantctl's own templates make: a database, an owner and a role for each tenant.
CREATE ROLE tenant_mint_owner NOLOGIN;
CREATE ROLE tenant_rose_owner NOLOGIN;
CREATE ROLE app_tenant_mint LOGIN;
CREATE ROLE app_tenant_rose LOGIN;
REVOKE ALL ON DATABASE tenant_mint, tenant_rose, control FROM PUBLIC;
GRANT CONNECT ON DATABASE tenant_mint TO app_tenant_mint;
GRANT CONNECT ON DATABASE tenant_rose TO app_tenant_rose;
ALTER DATABASE tenant_mint OWNER TO tenant_mint_owner;
ALTER DATABASE tenant_rose OWNER TO tenant_rose_owner;
\connect tenant_mint
CREATE SCHEMA app AUTHORIZATION tenant_mint_owner;
SET ROLE tenant_mint_owner;
CREATE TABLE app.account (iban text PRIMARY KEY, cents bigint NOT NULL DEFAULT 0);
GRANT USAGE ON SCHEMA app TO app_tenant_mint;
GRANT SELECT, INSERT, UPDATE, DELETE ON app.account TO app_tenant_mint;
INSERT INTO app.account VALUES ('MINT-1', 1);
\connect tenant_rose
CREATE SCHEMA app AUTHORIZATION tenant_rose_owner;
SET ROLE tenant_rose_owner;
CREATE TABLE app.account (iban text PRIMARY KEY, cents bigint NOT NULL DEFAULT 0);
GRANT USAGE ON SCHEMA app TO app_tenant_rose;
GRANT SELECT, INSERT, UPDATE, DELETE ON app.account TO app_tenant_rose;
INSERT INTO app.account VALUES ('ROSE-1', 2);
