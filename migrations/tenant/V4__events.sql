-- What happened, in the order in which it happened to each stream. Events are facts: they are
-- added, read, and one day removed by the retention of the table's owner, but never changed.

-- The owner passes, for retention and for erasing a person's data. The application owns nothing,
-- so it never does, whatever it has been granted.
CREATE FUNCTION keep_append_only() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% on %: rows are only ever added', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Add a row that corrects the earlier one.';
END
$$;

CREATE TABLE events (
    id             uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    stream         text        NOT NULL CHECK (btrim(stream) <> '' AND char_length(stream) <= 200),
    stream_version bigint      NOT NULL CHECK (stream_version > 0),
    type           text        NOT NULL
        CHECK (type ~ '^[a-z][a-z0-9_.]*$' AND char_length(type) <= 100),
    payload        jsonb       NOT NULL CHECK (jsonb_typeof(payload) = 'object'),
    metadata       jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    occurred_at    timestamptz NOT NULL DEFAULT now(),
    created_at     timestamptz NOT NULL DEFAULT now(),
    -- Of two writers that saw the same version of a stream, one is refused.
    UNIQUE (stream, stream_version)
);
COMMENT ON COLUMN events.occurred_at IS 'When it happened; created_at says when it was recorded';

CREATE INDEX events_type ON events (type, created_at DESC);
-- Rows arrive in the order of created_at, so a block range index of a few pages covers them all.
CREATE INDEX events_created ON events USING brin (created_at);
-- jsonb_path_ops serves @> alone, in a fraction of the size of the default.
CREATE INDEX events_payload ON events USING gin (payload jsonb_path_ops);

CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION keep_append_only();
