-- What each customer has chosen, one row for each choice. Values are checked by the application,
-- which knows the keys; the table only keeps the keys tidy.

CREATE TABLE settings (
    tenant_id  uuid        NOT NULL REFERENCES organisations (tenant_id),
    key        text        NOT NULL CHECK (key ~ '^[a-z][a-z0-9_.]{0,99}$'),
    value      jsonb       NOT NULL,
    updated_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key),
    FOREIGN KEY (tenant_id, updated_by) REFERENCES users (tenant_id, id)
);

CREATE INDEX settings_updated_by ON settings (tenant_id, updated_by);

CREATE TRIGGER settings_touch BEFORE UPDATE ON settings
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
