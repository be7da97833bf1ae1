-- A schema for each customer, whose role logs in by itself; the owner of all is one.
CREATE ROLE wiki_dba NOLOGIN;
CREATE ROLE wiki_alpha LOGIN;
CREATE ROLE wiki_beta LOGIN;
CREATE ROLE wiki_gamma LOGIN;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA shared_ref AUTHORIZATION wiki_dba;
GRANT USAGE ON SCHEMA shared_ref TO PUBLIC;
CREATE TABLE shared_ref.language (code text PRIMARY KEY, name text NOT NULL);
INSERT INTO shared_ref.language VALUES ('fi', 'Finnish');
GRANT SELECT ON shared_ref.language TO PUBLIC;
DO $$
DECLARE tenant text;
BEGIN
    FOREACH tenant IN ARRAY ARRAY['alpha', 'beta', 'gamma'] LOOP
        EXECUTE format('CREATE SCHEMA %1$s_wiki AUTHORIZATION wiki_dba', tenant);
        EXECUTE format('GRANT USAGE ON SCHEMA %1$s_wiki TO wiki_%1$s', tenant);
        EXECUTE format('ALTER ROLE wiki_%1$s SET search_path = %1$s_wiki, shared_ref', tenant);
        EXECUTE format('SET LOCAL ROLE wiki_dba');
        EXECUTE format('CREATE TABLE %1$s_wiki.page (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL, body text)', tenant);
        EXECUTE format('CREATE TABLE %1$s_wiki.revision (page bigint REFERENCES %1$s_wiki.page, at timestamptz DEFAULT now(), body text)', tenant);
        EXECUTE format('CREATE FUNCTION %1$s_wiki.keep() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = %1$s_wiki, pg_temp AS
            ''BEGIN INSERT INTO revision (page, body) VALUES (NEW.id, NEW.body); RETURN NULL; END''', tenant);
        EXECUTE format('CREATE TRIGGER keep AFTER INSERT OR UPDATE ON %1$s_wiki.page FOR EACH ROW EXECUTE FUNCTION %1$s_wiki.keep()', tenant);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %1$s_wiki.page TO wiki_%1$s', tenant);
        EXECUTE format('GRANT SELECT ON %1$s_wiki.revision TO wiki_%1$s', tenant);
        EXECUTE format('INSERT INTO %1$s_wiki.page (title, body) VALUES (%1$L, %1$L)', tenant);
        RESET ROLE;
    END LOOP;
END $$;
