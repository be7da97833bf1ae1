-- Invoices are read through views; the application has no table.
CREATE ROLE bill_owner NOLOGIN;
CREATE ROLE bill_views NOLOGIN;
CREATE ROLE bill_app LOGIN;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA bill AUTHORIZATION bill_owner;
CREATE SCHEMA face AUTHORIZATION bill_owner;
GRANT USAGE ON SCHEMA face TO bill_app;
GRANT USAGE ON SCHEMA bill, face TO bill_views;
GRANT CREATE ON SCHEMA face TO bill_views;
SET ROLE bill_owner;
CREATE TABLE bill.invoice (
    tenant_id bigint NOT NULL, no integer NOT NULL, total numeric NOT NULL, paid boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, no));
CREATE TABLE bill.currency (code text PRIMARY KEY, digits smallint NOT NULL);
INSERT INTO bill.currency VALUES ('EUR', 2);
ALTER TABLE bill.invoice ENABLE ROW LEVEL SECURITY;
ALTER TABLE bill.invoice FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON bill.invoice USING (tenant_id = nullif(current_setting('app.tenant', true), '')::bigint);
GRANT SELECT, INSERT, UPDATE, DELETE ON bill.invoice TO bill_views;
GRANT SELECT ON bill.currency TO bill_views;
RESET ROLE;
SET ROLE bill_views;
CREATE VIEW face.invoice AS SELECT tenant_id, no, total, paid FROM bill.invoice;
CREATE VIEW face.currency AS SELECT * FROM bill.currency;
GRANT SELECT, INSERT, UPDATE, DELETE ON face.invoice TO bill_app;
GRANT SELECT ON face.currency TO bill_app;
RESET ROLE;
INSERT INTO bill.invoice VALUES (1001, 1, 10), (1002, 1, 20);
