CREATE TABLE teams (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organisation_id uuid NOT NULL REFERENCES organisations (id),
    name text NOT NULL,
    slug text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX teams_parent ON teams (organisation_id);
CREATE INDEX teams_1 ON teams (organisation_id, slug);
CREATE INDEX teams_2 ON teams (lower(name));
COMMENT ON TABLE teams IS 'One of the twelve tables of a tenant';
CREATE TRIGGER teams_touch BEFORE UPDATE ON teams FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE teams ENABLE ROW LEVEL SECURITY;
CREATE POLICY teams_read ON teams FOR SELECT USING (true);
CREATE POLICY teams_write ON teams FOR ALL USING (current_setting('app.writes', true) = 'on');
GRANT SELECT ON teams TO bench_app;
GRANT INSERT, UPDATE, DELETE ON teams TO bench_app;
