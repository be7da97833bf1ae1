-- A schema for each laboratory: one writer, one technician that reads, a gateway that becomes them, a common schema of methods.
CREATE ROLE gateway LOGIN NOINHERIT;
CREATE ROLE lab_dba NOLOGIN;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA methods AUTHORIZATION lab_dba;
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['iris', 'juno', 'kali'] LOOP
        EXECUTE format('CREATE ROLE %s_own NOLOGIN', t);
        EXECUTE format('CREATE ROLE %s_rw NOLOGIN', t);
        EXECUTE format('CREATE ROLE %s_ro NOLOGIN', t);
        EXECUTE format('GRANT %1$s_rw, %1$s_ro TO gateway', t);
        EXECUTE format('CREATE SCHEMA "lab-%1$s" AUTHORIZATION %1$s_own', t);
        EXECUTE format('GRANT USAGE ON SCHEMA "lab-%1$s" TO %1$s_rw, %1$s_ro', t);
        EXECUTE format('GRANT USAGE ON SCHEMA methods TO %1$s_rw, %1$s_ro, %1$s_own', t);
        EXECUTE format('SET LOCAL ROLE %s_own', t);
        EXECUTE format('CREATE TABLE "lab-%s".sample (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), label text NOT NULL, taken timestamptz NOT NULL DEFAULT now())', t);
        EXECUTE format('CREATE TABLE "lab-%1$s".result (sample uuid REFERENCES "lab-%1$s".sample, value double precision, remark text)', t);
        EXECUTE format('CREATE VIEW "lab-%1$s".recent AS SELECT * FROM "lab-%1$s".sample ORDER BY taken DESC LIMIT 10', t);
        EXECUTE format('CREATE FUNCTION "lab-%1$s".count_samples() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS ''SELECT count(*) FROM "lab-%1$s".sample''', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON "lab-%1$s".sample, "lab-%1$s".result TO %1$s_rw', t);
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA "lab-%1$s" TO %1$s_rw, %1$s_ro', t);
        EXECUTE format('INSERT INTO "lab-%1$s".sample (label) VALUES (%1$L)', t);
        RESET ROLE;
    END LOOP;
END $$;
SET ROLE lab_dba;
CREATE TABLE methods.method (code text PRIMARY KEY, title text NOT NULL);
INSERT INTO methods.method VALUES ('pcr', 'Polymerase chain reaction');
GRANT SELECT ON methods.method TO PUBLIC;
RESET ROLE;
