-- The application has functions and nothing else.
CREATE ROLE pay_owner NOLOGIN;
CREATE ROLE pay_api LOGIN;
CREATE SCHEMA pay AUTHORIZATION pay_owner;
CREATE SCHEMA pay_api AUTHORIZATION pay_owner;
GRANT USAGE ON SCHEMA pay_api TO pay_api;
SET ROLE pay_owner;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
CREATE TABLE pay.card (
    tenant_id uuid NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), holder text NOT NULL, last4 char(4) NOT NULL,
    PRIMARY KEY (tenant_id, id));
CREATE TABLE pay.charge (
    tenant_id uuid NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), card uuid NOT NULL, cents bigint NOT NULL,
    PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, card) REFERENCES pay.card);
ALTER TABLE pay.card ENABLE ROW LEVEL SECURITY;
ALTER TABLE pay.charge ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON pay.card USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY tenant ON pay.charge USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE FUNCTION pay.tenant() RETURNS uuid LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT nullif(current_setting('app.tenant_id', true), '')::uuid $$;
CREATE FUNCTION pay_api.cards() RETURNS SETOF pay.card LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT * FROM pay.card WHERE tenant_id = pay.tenant() $$;
CREATE FUNCTION pay_api.add_card(holder text, last4 text) RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ INSERT INTO pay.card (tenant_id, holder, last4) VALUES (pay.tenant(), $1, $2) RETURNING id $$;
CREATE FUNCTION pay_api.charge(card uuid, cents bigint) RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE made uuid;
BEGIN
    INSERT INTO pay.charge (tenant_id, card, cents) VALUES (pay.tenant(), $1, $2) RETURNING id INTO made;
    RETURN made;
END $$;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pay_api TO pay_api;
RESET ROLE;
INSERT INTO pay.card (tenant_id, id, holder, last4) VALUES
    ('11111111-1111-4111-8111-111111111111', '11111111-1111-4111-8111-aaaaaaaaaaaa', 'Ada', '1111'),
    ('22222222-2222-4222-8222-222222222222', '22222222-2222-4222-8222-bbbbbbbbbbbb', 'Bob', '2222');
