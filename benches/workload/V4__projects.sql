CREATE TABLE projects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id uuid NOT NULL REFERENCES teams (id),
    title text NOT NULL,
    tags text[] NOT NULL DEFAULT '{}',
    due_on date,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX projects_parent ON projects (team_id);
CREATE INDEX projects_1 ON projects USING gin (tags);
CREATE INDEX projects_2 ON projects (due_on) WHERE due_on IS NOT NULL;
COMMENT ON TABLE projects IS 'One of the twelve tables of a tenant';
CREATE TRIGGER projects_touch BEFORE UPDATE ON projects FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE projects ENABLE ROW LEVEL SECURITY;
CREATE POLICY projects_read ON projects FOR SELECT USING (true);
CREATE POLICY projects_write ON projects FOR ALL USING (current_setting('app.writes', true) = 'on');
GRANT SELECT ON projects TO bench_app;
GRANT INSERT, UPDATE, DELETE ON projects TO bench_app;
