-- A knowledge graph on slugs: nodes, edges, tags, a trail with who did it, an app and a reader.
CREATE ROLE kg_owner NOLOGIN;
CREATE ROLE kg_app LOGIN;
CREATE ROLE kg_reader LOGIN;
CREATE SCHEMA kg AUTHORIZATION kg_owner;
GRANT USAGE ON SCHEMA kg TO kg_app, kg_reader;
SET ROLE kg_owner;
CREATE TYPE kg.kind AS ENUM ('person', 'place', 'idea');
CREATE TABLE kg.space (slug text PRIMARY KEY CHECK (slug ~ '^[a-z][a-z0-9-]*$'), name text NOT NULL);
CREATE TABLE kg.node (
    space text NOT NULL REFERENCES kg.space, id uuid NOT NULL DEFAULT gen_random_uuid(), kind kg.kind NOT NULL, label text NOT NULL,
    props jsonb NOT NULL DEFAULT '{}', PRIMARY KEY (space, id));
CREATE TABLE kg.edge (
    space text NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), source uuid NOT NULL, target uuid NOT NULL, weight real NOT NULL DEFAULT 1,
    PRIMARY KEY (space, id), FOREIGN KEY (space, source) REFERENCES kg.node ON DELETE CASCADE,
    FOREIGN KEY (space, target) REFERENCES kg.node ON DELETE CASCADE);
CREATE TABLE kg.trail (
    space text NOT NULL, at timestamptz NOT NULL DEFAULT now(), actor text, op text NOT NULL, old jsonb, new jsonb);
CREATE INDEX ON kg.trail (space, at);
CREATE FUNCTION kg.set_tenant_context(space text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
    $$ BEGIN PERFORM set_config('app.tenant_id', space, true); END $$;
CREATE FUNCTION kg.space() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT nullif(current_setting('app.tenant_id', true), '') $$;
CREATE FUNCTION kg.record() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO kg.trail (space, actor, op, old, new)
    VALUES (coalesce(NEW.space, OLD.space), current_setting('app.actor', true), TG_OP, to_jsonb(OLD), to_jsonb(NEW));
    RETURN NULL;
END $$;
CREATE TRIGGER record AFTER INSERT OR UPDATE OR DELETE ON kg.node FOR EACH ROW EXECUTE FUNCTION kg.record();
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['node', 'edge', 'trail'] LOOP
        EXECUTE format('ALTER TABLE kg.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE kg.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON kg.%I USING (space = kg.space()) WITH CHECK (space = kg.space())', name);
    END LOOP;
END $$;
ALTER TABLE kg.space ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON kg.space USING (slug = kg.space());
GRANT SELECT ON kg.space, kg.node, kg.edge, kg.trail TO kg_reader;
GRANT SELECT ON kg.space, kg.trail TO kg_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON kg.node, kg.edge TO kg_app;
RESET ROLE;
INSERT INTO kg.space VALUES ('elm', 'Elm'), ('elm-two', 'Elm again'), ('oak', 'Oak');
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['elm', 'elm-two', 'oak'] LOOP
        PERFORM set_config('app.tenant_id', name, true);
        INSERT INTO kg.node (space, kind, label) VALUES (name, 'idea', 'idea of ' || name);
    END LOOP;
END $$;
