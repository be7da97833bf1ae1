-- Documents in shared tables, and the side doors of a server.
CREATE ROLE doc_owner NOLOGIN;
CREATE ROLE doc_app LOGIN;
CREATE SCHEMA doc AUTHORIZATION doc_owner;
GRANT USAGE ON SCHEMA doc TO doc_app;
SET ROLE doc_owner;
CREATE TABLE doc.paper (
    tenant_id uuid NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), title text NOT NULL, body text NOT NULL DEFAULT '', scan oid,
    PRIMARY KEY (tenant_id, id));
ALTER TABLE doc.paper ENABLE ROW LEVEL SECURITY;
ALTER TABLE doc.paper FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON doc.paper USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON doc.paper TO doc_app;
RESET ROLE;
INSERT INTO doc.paper (tenant_id, id, title) VALUES ('d1000000-0000-4000-8000-000000000001', 'd1000000-0000-4000-8000-00000000000a', 'first'),
    ('d2000000-0000-4000-8000-000000000002', 'd2000000-0000-4000-8000-00000000000b', 'second');
