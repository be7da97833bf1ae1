-- Surveys; the question is what the application may create.
CREATE ROLE poll_owner NOLOGIN;
CREATE ROLE poll_app LOGIN;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA poll AUTHORIZATION poll_owner;
CREATE SCHEMA poll_code AUTHORIZATION poll_owner;
GRANT USAGE ON SCHEMA poll, poll_code TO poll_app;
SET ROLE poll_owner;
CREATE TABLE poll.answer (tenant_id uuid NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), words text NOT NULL, PRIMARY KEY (tenant_id, id));
ALTER TABLE poll.answer ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON poll.answer USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON poll.answer TO poll_app;
CREATE FUNCTION poll_code.allowed(words text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT length($1) < 1000';
CREATE FUNCTION poll_code.tally() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = poll_code, poll, pg_temp AS
    'BEGIN RETURN (SELECT count(*) FROM answer WHERE allowed(words) AND tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid); END';
RESET ROLE;
INSERT INTO poll.answer (tenant_id, words) VALUES ('e1000000-0000-4000-8000-000000000001', 'yes'), ('e2000000-0000-4000-8000-000000000002', 'no');
