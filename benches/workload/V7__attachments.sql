CREATE TABLE attachments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    task_id uuid NOT NULL REFERENCES tasks (id),
    file_name text NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    sha256 bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX attachments_parent ON attachments (task_id);
CREATE INDEX attachments_1 ON attachments (sha256);
CREATE INDEX attachments_2 ON attachments (size_bytes) WHERE size_bytes > 1048576;
COMMENT ON TABLE attachments IS 'One of the twelve tables of a tenant';
CREATE TRIGGER attachments_touch BEFORE UPDATE ON attachments FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE attachments ENABLE ROW LEVEL SECURITY;
CREATE POLICY attachments_read ON attachments FOR SELECT USING (true);
CREATE POLICY attachments_write ON attachments FOR ALL USING (current_setting('app.writes', true) = 'on');
GRANT SELECT ON attachments TO bench_app;
GRANT INSERT, UPDATE, DELETE ON attachments TO bench_app;
