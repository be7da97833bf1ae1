-- Every policy lets everything through; one restrictive policy per table is the wall.
CREATE ROLE helm_owner NOLOGIN;
CREATE ROLE helm_api LOGIN;
CREATE ROLE helm_jobs LOGIN;
CREATE SCHEMA helm AUTHORIZATION helm_owner;
GRANT USAGE ON SCHEMA helm TO helm_api, helm_jobs;
SET ROLE helm_owner;
CREATE FUNCTION helm.here() RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(current_setting('helm.workspace', true), '') = '' THEN
        RAISE EXCEPTION 'no workspace' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN current_setting('helm.workspace');
END $$;
CREATE TABLE helm.voyage (workspace text NOT NULL, code text NOT NULL, sails date, PRIMARY KEY (workspace, code));
CREATE TABLE helm.crew (workspace text NOT NULL, person text NOT NULL, rank text, PRIMARY KEY (workspace, person));
ALTER TABLE helm.voyage ENABLE ROW LEVEL SECURITY;
ALTER TABLE helm.crew ENABLE ROW LEVEL SECURITY;
ALTER TABLE helm.voyage FORCE ROW LEVEL SECURITY;
ALTER TABLE helm.crew FORCE ROW LEVEL SECURITY;
CREATE POLICY open ON helm.voyage USING (true) WITH CHECK (true);
CREATE POLICY wall ON helm.voyage AS RESTRICTIVE USING (workspace = helm.here()) WITH CHECK (workspace = helm.here());
CREATE POLICY open ON helm.crew USING (true) WITH CHECK (true);
CREATE POLICY wall ON helm.crew AS RESTRICTIVE USING (workspace = helm.here());
GRANT SELECT, INSERT, UPDATE, DELETE ON helm.voyage, helm.crew TO helm_api, helm_jobs;
RESET ROLE;
INSERT INTO helm.voyage VALUES ('north', 'N1', '2026-01-01'), ('south', 'S1', '2026-02-01');
INSERT INTO helm.crew VALUES ('north', 'Nell', 'mate'), ('south', 'Sam', 'cook');
