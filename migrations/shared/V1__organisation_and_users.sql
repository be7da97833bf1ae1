-- The starting schema of tenants that share their tables: one schema, every row marked with the
-- tenant it belongs to.
--
-- These files create no policies and grant nothing. tenantctl enables and forces row-level
-- security on every table with a tenant_id, creates its policies, and only then grants the
-- application role its rights; a table that a later file adds is closed to the application until
-- that is done. No file names a schema or a role: search_path holds the one schema of the tables
-- while a file runs. migrations/tenant is the same schema for a tenant that is alone in it; keep
-- the two in step.
--
-- Three rules hold in every table here:
--   * The primary key begins with tenant_id. An id that another tenant uses is not taken, so
--     trying ids tells nothing about the others; one tenant's rows lie together in the index.
--   * A foreign key carries tenant_id. Constraints are checked past row-level security, so a key
--     on id alone would let a row refer to another tenant's.
--   * An index begins with tenant_id. Every query of the application is bound to one tenant by its
--     policy, and the planner looks up only leakproof operators beside it: =, < and > on uuid, text
--     and timestamps are, @@ and @> are not.

-- The path is pinned, as in every function here, so that nobody can slip in an operator or a
-- table of his own. It names no schema of ours: the schema may be renamed, or restored under
-- another name.
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
    tenant_id  uuid        PRIMARY KEY,
    name       text        NOT NULL CHECK (btrim(name) <> '' AND char_length(name) <= 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE organisations IS 'The customer itself: one row per tenant, inserted first';

CREATE TRIGGER organisations_touch BEFORE UPDATE ON organisations
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TYPE user_role AS ENUM ('viewer', 'member', 'admin', 'owner');

CREATE TABLE users (
    tenant_id    uuid        NOT NULL REFERENCES organisations (tenant_id),
    id           uuid        NOT NULL DEFAULT gen_random_uuid(),
    email        text        NOT NULL
        CHECK (email = lower(email) AND email ~ '^[^@\s]+@[^@\s]+$' AND char_length(email) <= 254),
    display_name text        NOT NULL DEFAULT '' CHECK (char_length(display_name) <= 200),
    role         user_role   NOT NULL DEFAULT 'member',
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    deleted_at   timestamptz,
    PRIMARY KEY (tenant_id, id)
);
COMMENT ON COLUMN users.deleted_at IS 'Soft delete: the row stays for those that refer to it';

-- An address is taken by a living user only, so that somebody who left can be invited again. It
-- is unique within a tenant: one person may work for two customers, and neither learns of it.
CREATE UNIQUE INDEX users_live_email ON users (tenant_id, email) WHERE deleted_at IS NULL;

CREATE TRIGGER users_touch BEFORE UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
