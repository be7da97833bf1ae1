-- The starting schema of a tenant that has a schema or a database of its own.
--
-- No table has a tenant column here, and no file names a schema or a role: search_path holds the
-- one schema of the tenant while a file runs, so every unqualified name lands there. Privileges
-- for the application role are granted by tenantctl, not by these files. migrations/shared is the
-- same schema for tenants that share their tables; keep the two in step.

-- The path is pinned, as in every function here, so that nobody can slip in an operator or a
-- table of his own. It names no schema of ours: the schema may be renamed, cloned or restored
-- under another name.
CREATE FUNCTION touch_updated_at() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TABLE organisations (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    name       text        NOT NULL CHECK (btrim(name) <> '' AND char_length(name) <= 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE organisations IS 'The customer itself: one row';

CREATE UNIQUE INDEX organisations_one_row ON organisations ((true));

CREATE TRIGGER organisations_touch BEFORE UPDATE ON organisations
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TYPE user_role AS ENUM ('viewer', 'member', 'admin', 'owner');

CREATE TABLE users (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    email        text        NOT NULL
        CHECK (email = lower(email) AND email ~ '^[^@\s]+@[^@\s]+$' AND char_length(email) <= 254),
    display_name text        NOT NULL DEFAULT '' CHECK (char_length(display_name) <= 200),
    role         user_role   NOT NULL DEFAULT 'member',
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    deleted_at   timestamptz
);
COMMENT ON COLUMN users.deleted_at IS 'Soft delete: the row stays for those that refer to it';

-- An address is taken by a living user only, so that somebody who left can be invited again.
CREATE UNIQUE INDEX users_live_email ON users (email) WHERE deleted_at IS NULL;

CREATE TRIGGER users_touch BEFORE UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
