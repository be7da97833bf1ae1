-- The whole life of a tenant. What it was before it was closed is kept here, so that it can be opened
-- again exactly as it was; what it was called once is nobody else's.
ALTER TABLE tenants
    DROP CONSTRAINT tenants_state_check,
    ADD CONSTRAINT tenants_state_check CHECK (
        state IN ('provisioning', 'active', 'suspended', 'moving', 'deleting', 'deleted', 'purged')
    ),
    ADD COLUMN state_before text CHECK (state_before IN ('provisioning', 'active', 'suspended')),
    ADD COLUMN closed jsonb,
    ADD COLUMN delete_after timestamptz,
    ADD COLUMN holds jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(holds) = 'array'),
    ADD CONSTRAINT tenants_grace CHECK (state <> 'deleting' OR delete_after IS NOT NULL);

-- Where a purged tenant was, somebody else may live; its id stays its own.
DROP INDEX tenants_own_schema, tenants_own_database, tenants_key;
CREATE UNIQUE INDEX tenants_own_schema ON tenants (cluster, database, schema)
    WHERE isolation <> 'shared' AND state <> 'purged';
CREATE UNIQUE INDEX tenants_own_database ON tenants (cluster, database)
    WHERE isolation = 'database' AND state <> 'purged';
CREATE UNIQUE INDEX tenants_key ON tenants (cluster, database, schema, key)
    WHERE isolation = 'shared' AND state <> 'purged';

CREATE TABLE former_ids (
    id text PRIMARY KEY,
    uuid uuid NOT NULL REFERENCES tenants (uuid),
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION refuse_former_id() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM tenantctl.former_ids f WHERE f.id = NEW.id AND f.uuid <> NEW.uuid) THEN
        RAISE EXCEPTION 'the id % was another tenant''s', NEW.id USING ERRCODE = 'unique_violation';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER ids_are_kept BEFORE INSERT OR UPDATE OF id ON tenants
    FOR EACH ROW EXECUTE FUNCTION refuse_former_id();
