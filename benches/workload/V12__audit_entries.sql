CREATE TABLE audit_entries (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organisation_id uuid NOT NULL REFERENCES organisations (id),
    actor text NOT NULL,
    action text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_entries_parent ON audit_entries (organisation_id);
CREATE INDEX audit_entries_1 ON audit_entries USING brin (created_at);
CREATE INDEX audit_entries_2 ON audit_entries (actor, created_at DESC);
COMMENT ON TABLE audit_entries IS 'One of the twelve tables of a tenant';
CREATE TRIGGER audit_entries_touch BEFORE UPDATE ON audit_entries FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE audit_entries ENABLE ROW LEVEL SECURITY;
CREATE POLICY audit_entries_read ON audit_entries FOR SELECT USING (true);
CREATE POLICY audit_entries_write ON audit_entries FOR ALL USING (current_setting('app.writes', true) = 'on');
GRANT SELECT ON audit_entries TO bench_app;
GRANT INSERT, UPDATE, DELETE ON audit_entries TO bench_app;
