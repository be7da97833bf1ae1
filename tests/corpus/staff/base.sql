-- Personnel: a floor for the company, and policies for people inside of it.
CREATE ROLE hr_owner NOLOGIN;
CREATE ROLE hr_web LOGIN;
CREATE SCHEMA hr AUTHORIZATION hr_owner;
GRANT USAGE ON SCHEMA hr TO hr_web;
SET ROLE hr_owner;
CREATE TABLE hr.employee (
    tenant_id uuid NOT NULL, login text NOT NULL, manager text, salary integer NOT NULL CHECK (salary > 0), PRIMARY KEY (tenant_id, login),
    FOREIGN KEY (tenant_id, manager) REFERENCES hr.employee);
CREATE TABLE hr.leave (
    tenant_id uuid NOT NULL, login text NOT NULL, starts date NOT NULL, days integer NOT NULL DEFAULT 1, state text NOT NULL DEFAULT 'asked',
    PRIMARY KEY (tenant_id, login, starts), FOREIGN KEY (tenant_id, login) REFERENCES hr.employee ON DELETE CASCADE);
CREATE FUNCTION hr.company() RETURNS uuid LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT nullif(current_setting('app.tenant_id', true), '')::uuid $$;
CREATE FUNCTION hr.me() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT nullif(current_setting('app.login', true), '') $$;
ALTER TABLE hr.employee ENABLE ROW LEVEL SECURITY; ALTER TABLE hr.employee FORCE ROW LEVEL SECURITY;
ALTER TABLE hr.leave ENABLE ROW LEVEL SECURITY; ALTER TABLE hr.leave FORCE ROW LEVEL SECURITY;
CREATE POLICY company ON hr.employee AS RESTRICTIVE USING (tenant_id = (SELECT hr.company()));
CREATE POLICY company ON hr.leave AS RESTRICTIVE USING (tenant_id = (SELECT hr.company()));
CREATE POLICY colleagues ON hr.employee FOR SELECT USING (true);
CREATE POLICY hire ON hr.employee FOR INSERT WITH CHECK (true);
CREATE POLICY change ON hr.employee FOR UPDATE USING (true);
CREATE POLICY mine ON hr.leave USING (login = (SELECT hr.me()) OR (SELECT hr.me()) IS NULL);
CREATE POLICY managed ON hr.leave FOR SELECT USING (EXISTS (
    SELECT FROM hr.employee AS e WHERE e.tenant_id = leave.tenant_id AND e.login = leave.login AND e.manager = (SELECT hr.me())));
GRANT SELECT, INSERT, UPDATE ON hr.employee TO hr_web;
GRANT SELECT, INSERT, UPDATE, DELETE ON hr.leave TO hr_web;
RESET ROLE;
INSERT INTO hr.employee VALUES ('3c000000-0000-4000-8000-000000000001', 'eva', NULL, 5000), ('4d000000-0000-4000-8000-000000000002', 'ove', NULL, 6000);
INSERT INTO hr.leave SELECT tenant_id, login, '2026-07-01' FROM hr.employee;
