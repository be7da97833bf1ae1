-- Tenants on their way to another place. A move is open until it is done or aborted; a tenant has at
-- most one that is.
--
-- What stands in both places is looked at; here is what cannot be seen there.
CREATE TABLE moves (
    id uuid PRIMARY KEY,
    tenant text NOT NULL REFERENCES tenants (id) ON UPDATE CASCADE,
    phase text NOT NULL CHECK (
        phase IN ('moving', 'kept', 'finishing', 'aborting', 'done', 'aborted')
    ),
    method text NOT NULL CHECK (method IN ('replication', 'freeze')),
    source jsonb NOT NULL CHECK (jsonb_typeof(source) = 'object'),
    target jsonb NOT NULL CHECK (jsonb_typeof(target) = 'object'),
    version bigint,
    -- The target holds a complete copy.
    loaded boolean NOT NULL DEFAULT false,
    -- What the copy saw, where changes are followed from there.
    snapshot text,
    -- What was compared while nobody could write: table, rows and hash.
    sums jsonb CHECK (jsonb_typeof(sums) = 'array'),
    -- What closing the source to readers took away.
    sealed jsonb,
    -- Since when the tenant cannot write, and for how long it could not before.
    frozen_at timestamptz,
    unwritable_ms bigint NOT NULL DEFAULT 0 CHECK (unwritable_ms >= 0),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    actor text NOT NULL DEFAULT session_user,
    CHECK ((phase IN ('done', 'aborted')) = (finished_at IS NOT NULL))
);

CREATE UNIQUE INDEX moves_open ON moves (tenant) WHERE phase NOT IN ('done', 'aborted');

-- A tenant whose other place is still there is not removed and not renamed: half of it would stay.
CREATE FUNCTION refuse_while_moving() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (NEW.id <> OLD.id OR NEW.state IN ('deleting', 'deleted', 'purged')) AND EXISTS (
        SELECT FROM tenantctl.moves m WHERE m.tenant = OLD.id AND m.phase NOT IN ('done', 'aborted')
    ) THEN
        RAISE EXCEPTION 'tenant % has moved, and its old place is still kept', OLD.id
            USING ERRCODE = 'object_in_use',
                  HINT = format('first: tenantctl move finish %s, or tenantctl move abort %s', OLD.id, OLD.id);
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER moves_end_first BEFORE UPDATE OF id, state ON tenants
    FOR EACH ROW EXECUTE FUNCTION refuse_while_moving();
