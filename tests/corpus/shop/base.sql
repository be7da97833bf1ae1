-- Orders of web shops. Four logins: the site, its workers, reports, and a read-only one.
CREATE ROLE shop_owner NOLOGIN;
CREATE ROLE shop_rw NOLOGIN;
CREATE ROLE shop_ro NOLOGIN;
CREATE ROLE shop_site LOGIN;
CREATE ROLE shop_worker LOGIN;
CREATE ROLE shop_reports LOGIN;
GRANT shop_rw TO shop_site, shop_worker;
GRANT shop_ro TO shop_reports;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

CREATE SCHEMA shop AUTHORIZATION shop_owner;
GRANT USAGE ON SCHEMA shop TO shop_rw, shop_ro;
SET ROLE shop_owner;

CREATE TABLE shop.merchant (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE shop.product (
    tenant_id uuid NOT NULL REFERENCES shop.merchant, id uuid NOT NULL DEFAULT gen_random_uuid(),
    sku text NOT NULL, price numeric(10, 2) NOT NULL CHECK (price >= 0),
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, sku));
CREATE TABLE shop.purchase (
    tenant_id uuid NOT NULL REFERENCES shop.merchant, id uuid NOT NULL DEFAULT gen_random_uuid(),
    placed timestamptz NOT NULL DEFAULT now(), buyer text NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'paid', 'sent')),
    PRIMARY KEY (tenant_id, id));
CREATE TABLE shop.purchase_line (
    tenant_id uuid NOT NULL, purchase uuid NOT NULL, line smallint NOT NULL, product uuid NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (tenant_id, purchase, line),
    FOREIGN KEY (tenant_id, purchase) REFERENCES shop.purchase ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, product) REFERENCES shop.product);
CREATE TABLE shop.vat (country text PRIMARY KEY, rate numeric NOT NULL);
INSERT INTO shop.vat VALUES ('SE', 25), ('DE', 19);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['product', 'purchase', 'purchase_line'] LOOP
        EXECUTE format('ALTER TABLE shop.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE shop.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format($p$CREATE POLICY %I ON shop.%I TO shop_rw, shop_ro
            USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
            WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))$p$,
            name || '_of_tenant', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON shop.%I TO shop_rw', name);
        EXECUTE format('GRANT SELECT ON shop.%I TO shop_ro', name);
    END LOOP;
END $$;
GRANT SELECT ON shop.vat TO shop_rw, shop_ro;
ALTER TABLE shop.merchant ENABLE ROW LEVEL SECURITY;
CREATE POLICY itself ON shop.merchant FOR SELECT TO shop_rw, shop_ro
    USING (id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
GRANT SELECT ON shop.merchant TO shop_rw, shop_ro;
RESET ROLE;

INSERT INTO shop.merchant VALUES ('a0000000-0000-4000-8000-000000000001', 'Anvil & Co'),
    ('b0000000-0000-4000-8000-000000000002', 'Bellows Ltd');
INSERT INTO shop.product (tenant_id, id, sku, price) SELECT id, id, 'one', 10 FROM shop.merchant;
INSERT INTO shop.purchase (tenant_id, id, buyer) SELECT id, id, 'somebody' FROM shop.merchant;
INSERT INTO shop.purchase_line SELECT id, id, 1, id, 3 FROM shop.merchant;
