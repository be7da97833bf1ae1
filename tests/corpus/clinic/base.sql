-- A schema and a role for each practice; the pool becomes the role. Codes that all use are read only.
CREATE ROLE med_owner NOLOGIN;
CREATE ROLE med_pool LOGIN NOINHERIT;
CREATE ROLE med_east NOLOGIN;
CREATE ROLE med_west NOLOGIN;
GRANT med_east, med_west TO med_pool;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA codes AUTHORIZATION med_owner;
CREATE SCHEMA practice_east AUTHORIZATION med_owner;
CREATE SCHEMA practice_west AUTHORIZATION med_owner;
GRANT USAGE ON SCHEMA codes TO med_east, med_west;
GRANT USAGE ON SCHEMA practice_east TO med_east;
GRANT USAGE ON SCHEMA practice_west TO med_west;
SET ROLE med_owner;
CREATE TABLE codes.diagnosis (code text PRIMARY KEY, words text NOT NULL);
INSERT INTO codes.diagnosis VALUES ('J00', 'common cold');
GRANT SELECT ON codes.diagnosis TO med_east, med_west;
DO $$
DECLARE tenant text;
BEGIN
    FOREACH tenant IN ARRAY ARRAY['east', 'west'] LOOP
        EXECUTE format('CREATE TABLE practice_%s.patient (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL)', tenant);
        EXECUTE format('CREATE TABLE practice_%1$s.visit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            patient bigint NOT NULL REFERENCES practice_%1$s.patient, code text REFERENCES codes.diagnosis, seen date NOT NULL)', tenant);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA practice_%1$s TO med_%1$s', tenant);
        EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA practice_%1$s TO med_%1$s', tenant);
        EXECUTE format('INSERT INTO practice_%s.patient (name) VALUES (%L)', tenant, 'patient of ' || tenant);
    END LOOP;
END $$;
RESET ROLE;
