-- Hauliers in shared tables: numbers as keys, a policy for each command, a pool that becomes two roles.
CREATE ROLE depot_ddl NOLOGIN;
CREATE ROLE depot_rw NOLOGIN;
CREATE ROLE depot_bi NOLOGIN;
CREATE ROLE depot_pool LOGIN NOINHERIT;
CREATE ROLE depot_ops NOLOGIN BYPASSRLS;
GRANT depot_rw, depot_bi TO depot_pool;
CREATE SCHEMA depot AUTHORIZATION depot_ddl;
GRANT USAGE ON SCHEMA depot TO depot_rw, depot_bi, depot_ops;
SET ROLE depot_ddl;
CREATE FUNCTION depot.company() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('ctx.company', true), '')::bigint;
CREATE TYPE depot.fuel AS ENUM ('diesel', 'electric');
CREATE TABLE depot.company (company bigint PRIMARY KEY, title text NOT NULL);
CREATE TABLE depot.vehicle (company bigint NOT NULL REFERENCES depot.company, plate text NOT NULL, fuel depot.fuel NOT NULL, sold boolean NOT NULL DEFAULT false, PRIMARY KEY (company, plate));
CREATE TABLE depot.trip (company bigint NOT NULL, trip uuid NOT NULL DEFAULT gen_random_uuid(), plate text NOT NULL, km numeric(9,1) CHECK (km > 0), note text,
    PRIMARY KEY (company, trip), FOREIGN KEY (company, plate) REFERENCES depot.vehicle ON DELETE CASCADE);
CREATE TABLE depot.holiday (day date PRIMARY KEY, title text NOT NULL);
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['company', 'vehicle', 'trip'] LOOP
        EXECUTE format('ALTER TABLE depot.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY r ON depot.%I FOR SELECT TO depot_rw, depot_bi USING (company = (SELECT depot.company()))', t);
        EXECUTE format('CREATE POLICY a ON depot.%I FOR INSERT TO depot_rw WITH CHECK (company = (SELECT depot.company()))', t);
        EXECUTE format('CREATE POLICY w ON depot.%I FOR UPDATE TO depot_rw USING (company = (SELECT depot.company())) WITH CHECK (company = (SELECT depot.company()))', t);
        EXECUTE format('CREATE POLICY d ON depot.%I FOR DELETE TO depot_rw USING (company = (SELECT depot.company()))', t);
    END LOOP;
END $$;
GRANT SELECT ON depot.company, depot.holiday TO depot_rw, depot_bi;
GRANT SELECT, INSERT, UPDATE, DELETE ON depot.vehicle, depot.trip TO depot_rw;
GRANT SELECT ON depot.vehicle, depot.trip TO depot_bi;
RESET ROLE;
INSERT INTO depot.company VALUES (101, 'Arrow'), (1012, 'Bolt');
INSERT INTO depot.vehicle VALUES (101, 'A-1', 'diesel'), (1012, 'B-1', 'electric');
INSERT INTO depot.trip (company, plate, km, note) VALUES (101, 'A-1', 10, 'to the sea'), (1012, 'B-1', 20, 'to the hills');
INSERT INTO depot.holiday VALUES ('2026-01-01', 'New Year');
