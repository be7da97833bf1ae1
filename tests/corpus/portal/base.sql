-- What a backend-as-a-service makes: one login without rights, and the roles that a token names.
CREATE ROLE api_login LOGIN NOINHERIT;
CREATE ROLE visitor NOLOGIN;
CREATE ROLE member NOLOGIN;
CREATE ROLE service NOLOGIN BYPASSRLS;
GRANT visitor, member TO api_login;
CREATE ROLE portal_admin NOLOGIN;
CREATE SCHEMA auth AUTHORIZATION portal_admin;
CREATE SCHEMA portal AUTHORIZATION portal_admin;
GRANT USAGE ON SCHEMA auth, portal TO visitor, member, service;
SET ROLE portal_admin;
CREATE FUNCTION auth.organization() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(pg_catalog.current_setting('request.jwt.claim.org', true), ''),
        nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::pg_catalog.jsonb ->> 'org')::pg_catalog.uuid $$;
CREATE TABLE portal.organization (id uuid PRIMARY KEY, handle text NOT NULL);
CREATE TABLE portal.project (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org uuid NOT NULL REFERENCES portal.organization ON DELETE CASCADE,
    title text NOT NULL, is_public boolean NOT NULL DEFAULT false);
CREATE TABLE portal.task (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org uuid NOT NULL REFERENCES portal.organization ON DELETE CASCADE,
    project uuid NOT NULL REFERENCES portal.project ON DELETE CASCADE, title text NOT NULL, done boolean NOT NULL DEFAULT false);
CREATE TABLE portal.profile (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org uuid NOT NULL, name text NOT NULL, secret text);
CREATE INDEX ON portal.project (org);
CREATE INDEX ON portal.task (org);
CREATE INDEX ON portal.profile (org);
ALTER TABLE portal.organization ENABLE ROW LEVEL SECURITY;
ALTER TABLE portal.project ENABLE ROW LEVEL SECURITY;
ALTER TABLE portal.task ENABLE ROW LEVEL SECURITY;
ALTER TABLE portal.profile ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Members see their organization" ON portal.organization FOR SELECT TO member USING (id = (SELECT auth.organization()));
CREATE POLICY "Members work on projects" ON portal.project TO member
    USING (org = (SELECT auth.organization())) WITH CHECK (org = (SELECT auth.organization()));
CREATE POLICY "Members work on tasks" ON portal.task TO member
    USING (org = (SELECT auth.organization())) WITH CHECK (org = (SELECT auth.organization()));
CREATE POLICY "Members see profiles" ON portal.profile FOR SELECT TO member USING (org = (SELECT auth.organization()));
CREATE POLICY "Members change profiles" ON portal.profile FOR UPDATE TO member USING (org = (SELECT auth.organization()));
GRANT SELECT ON portal.organization TO member;
GRANT SELECT, INSERT, UPDATE, DELETE ON portal.project, portal.task TO member;
GRANT SELECT, UPDATE ON portal.profile TO member;
GRANT ALL ON ALL TABLES IN SCHEMA portal TO service;
RESET ROLE;
INSERT INTO portal.organization VALUES ('c1000000-0000-4000-8000-000000000001', 'cedar'), ('c2000000-0000-4000-8000-000000000002', 'birch');
INSERT INTO portal.project (id, org, title) SELECT id, id, handle || ' one' FROM portal.organization;
INSERT INTO portal.task (org, project, title) SELECT id, id, handle || ' task' FROM portal.organization;
INSERT INTO portal.profile (org, name, secret) SELECT id, handle || ' admin', 'token' FROM portal.organization;
