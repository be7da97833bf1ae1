-- Keys for programs. The key itself is shown once and never stored: its prefix finds the row, its
-- SHA-256 proves it. A key is random and long, so a slow password hash would buy nothing.

CREATE TYPE api_scope AS ENUM (
    'documents:read', 'documents:write', 'events:read', 'events:write', 'admin'
);

CREATE TABLE api_keys (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id      uuid        NOT NULL REFERENCES users (id),
    name         text        NOT NULL CHECK (btrim(name) <> '' AND char_length(name) <= 100),
    prefix       text        NOT NULL CHECK (prefix ~ '^[A-Za-z0-9_]{8,16}$'),
    key_hash     bytea       NOT NULL CHECK (octet_length(key_hash) = 32),
    scopes       api_scope[] NOT NULL
        CHECK (cardinality(scopes) > 0 AND array_position(scopes, NULL) IS NULL),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CHECK (expires_at > created_at)
);

CREATE UNIQUE INDEX api_keys_prefix ON api_keys (prefix);
CREATE INDEX api_keys_user ON api_keys (user_id);
-- For the job that warns before a key runs out.
CREATE INDEX api_keys_live_expiry ON api_keys (expires_at)
    WHERE revoked_at IS NULL AND expires_at IS NOT NULL;

CREATE TRIGGER api_keys_touch BEFORE UPDATE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
