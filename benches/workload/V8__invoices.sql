CREATE TYPE invoice_state AS ENUM ('draft', 'open', 'paid', 'void');
CREATE TABLE invoices (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organisation_id uuid NOT NULL REFERENCES organisations (id),
    number text NOT NULL,
    amount numeric(12,2) NOT NULL,
    state invoice_state NOT NULL DEFAULT 'draft',
    issued_on date,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX invoices_parent ON invoices (organisation_id);
CREATE INDEX invoices_1 ON invoices (number);
CREATE INDEX invoices_2 ON invoices (state, issued_on);
COMMENT ON TABLE invoices IS 'One of the twelve tables of a tenant';
CREATE TRIGGER invoices_touch BEFORE UPDATE ON invoices FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;
CREATE POLICY invoices_read ON invoices FOR SELECT USING (true);
CREATE POLICY invoices_write ON invoices FOR ALL USING (current_setting('app.writes', true) = 'on');
GRANT SELECT ON invoices TO bench_app;
GRANT INSERT, UPDATE, DELETE ON invoices TO bench_app;
