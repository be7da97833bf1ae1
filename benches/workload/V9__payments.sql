CREATE TABLE payments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    invoice_id uuid NOT NULL REFERENCES invoices (id),
    amount numeric(12,2) NOT NULL CHECK (amount > 0),
    provider text NOT NULL,
    reference text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX payments_parent ON payments (invoice_id);
CREATE INDEX payments_1 ON payments (provider, reference);
CREATE INDEX payments_2 ON payments USING brin (created_at);
COMMENT ON TABLE payments IS 'One of the twelve tables of a tenant';
CREATE TRIGGER payments_touch BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE payments ENABLE ROW LEVEL SECURITY;
CREATE POLICY payments_read ON payments FOR SELECT USING (true);
CREATE POLICY payments_write ON payments FOR ALL USING (current_setting('app.writes', true) = 'on');
GRANT SELECT ON payments TO bench_app;
GRANT INSERT, UPDATE, DELETE ON payments TO bench_app;
