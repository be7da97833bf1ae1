CREATE TABLE tasks (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL REFERENCES projects (id),
    title text NOT NULL,
    priority smallint NOT NULL DEFAULT 3 CHECK (priority BETWEEN 1 AND 5),
    done_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tasks_parent ON tasks (project_id);
CREATE INDEX tasks_1 ON tasks (priority, created_at);
CREATE INDEX tasks_2 ON tasks (created_at) WHERE done_at IS NULL;
COMMENT ON TABLE tasks IS 'One of the twelve tables of a tenant';
CREATE TRIGGER tasks_touch BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
CREATE POLICY tasks_read ON tasks FOR SELECT USING (true);
CREATE POLICY tasks_write ON tasks FOR ALL USING (current_setting('app.writes', true) = 'on');
GRANT SELECT ON tasks TO bench_app;
GRANT INSERT, UPDATE, DELETE ON tasks TO bench_app;
