CREATE TABLE comments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    task_id uuid NOT NULL REFERENCES tasks (id),
    body text NOT NULL,
    edited boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX comments_parent ON comments (task_id);
CREATE INDEX comments_1 ON comments (created_at DESC);
CREATE INDEX comments_2 ON comments USING gin (to_tsvector('simple', body));
COMMENT ON TABLE comments IS 'One of the twelve tables of a tenant';
CREATE TRIGGER comments_touch BEFORE UPDATE ON comments FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE comments ENABLE ROW LEVEL SECURITY;
CREATE POLICY comments_read ON comments FOR SELECT USING (true);
CREATE POLICY comments_write ON comments FOR ALL USING (current_setting('app.writes', true) = 'on');
GRANT SELECT ON comments TO bench_app;
GRANT INSERT, UPDATE, DELETE ON comments TO bench_app;
