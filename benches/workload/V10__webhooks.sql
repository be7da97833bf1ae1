CREATE TABLE webhooks (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organisation_id uuid NOT NULL REFERENCES organisations (id),
    url text NOT NULL,
    events text[] NOT NULL DEFAULT '{}',
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhooks_parent ON webhooks (organisation_id);
CREATE INDEX webhooks_1 ON webhooks USING gin (events);
CREATE INDEX webhooks_2 ON webhooks (url) WHERE active;
COMMENT ON TABLE webhooks IS 'One of the twelve tables of a tenant';
CREATE TRIGGER webhooks_touch BEFORE UPDATE ON webhooks FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE webhooks ENABLE ROW LEVEL SECURITY;
CREATE POLICY webhooks_read ON webhooks FOR SELECT USING (true);
CREATE POLICY webhooks_write ON webhooks FOR ALL USING (current_setting('app.writes', true) = 'on');
GRANT SELECT ON webhooks TO bench_app;
GRANT INSERT, UPDATE, DELETE ON webhooks TO bench_app;
