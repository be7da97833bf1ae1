CREATE TABLE deliveries (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    webhook_id uuid NOT NULL REFERENCES webhooks (id),
    status smallint,
    payload jsonb NOT NULL DEFAULT '{}',
    attempts integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deliveries_parent ON deliveries (webhook_id);
CREATE INDEX deliveries_1 ON deliveries USING brin (created_at);
CREATE INDEX deliveries_2 ON deliveries (created_at) WHERE status IS NULL;
COMMENT ON TABLE deliveries IS 'One of the twelve tables of a tenant';
CREATE TRIGGER deliveries_touch BEFORE UPDATE ON deliveries FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE deliveries ENABLE ROW LEVEL SECURITY;
CREATE POLICY deliveries_read ON deliveries FOR SELECT USING (true);
CREATE POLICY deliveries_write ON deliveries FOR ALL USING (current_setting('app.writes', true) = 'on');
GRANT SELECT ON deliveries TO bench_app;
GRANT INSERT, UPDATE, DELETE ON deliveries TO bench_app;
