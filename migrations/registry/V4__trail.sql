-- What was done becomes a chain: every event carries the hash of the one before it, so that none is
-- changed, taken out or put in between without breaking what follows. The server keeps the chain,
-- whoever writes.
--
-- Who, when, from where and as which application is what the server knows. `origin` is what the
-- process says of itself: the machine's name and the user's.
ALTER TABLE events
    ALTER COLUMN id DROP IDENTITY,
    ALTER COLUMN tenant DROP NOT NULL,
    ADD COLUMN outcome text CHECK (outcome IN ('begun', 'done', 'failed')),
    ADD COLUMN client text,
    ADD COLUMN origin jsonb,
    ADD COLUMN run uuid,
    ADD COLUMN asked text,
    ADD COLUMN before jsonb,
    ADD COLUMN after jsonb,
    ADD COLUMN previous bytea,
    ADD COLUMN hash bytea;

-- What is hashed. `audit verify` computes it by itself and trusts nothing that stands here.
CREATE FUNCTION event_text(e events) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_array(
        e.id, to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), e.tenant, e.event, e.outcome,
        e.actor, e.application, e.client, e.origin, e.run, e.asked, e.before, e.after, e.detail,
        encode(e.previous, 'hex'))::text
$$;

-- The newest event. Its row is the lock that orders writers, and tells when events are cut off at
-- the end.
CREATE TABLE event_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id bigint NOT NULL,
    hash bytea NOT NULL
);

-- Events of an older registry are chained in their order.
ALTER TABLE events DISABLE TRIGGER events_are_kept;
DO $$
DECLARE
    e tenantctl.events;
    was bigint;
    number bigint := 0;
    newest bytea := decode(repeat('00', 32), 'hex');
BEGIN
    FOR e IN SELECT * FROM tenantctl.events ORDER BY id LOOP
        was := e.id;
        number := number + 1;
        e.id := number;
        e.previous := newest;
        newest := sha256(convert_to(tenantctl.event_text(e), 'UTF8'));
        UPDATE tenantctl.events SET id = number, previous = e.previous, hash = newest WHERE id = was;
    END LOOP;
    INSERT INTO tenantctl.event_head (id, hash) VALUES (number, newest);
END
$$;
ALTER TABLE events ENABLE TRIGGER events_are_kept;
ALTER TABLE events
    ALTER COLUMN previous SET NOT NULL,
    ALTER COLUMN hash SET NOT NULL;

-- A right to add events is enough to add one: the head is moved by its owner.
CREATE FUNCTION chain_event() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    head tenantctl.event_head;
BEGIN
    SELECT * INTO STRICT head FROM tenantctl.event_head FOR UPDATE;
    NEW.id := head.id + 1;
    NEW.previous := head.hash;
    NEW.at := clock_timestamp();
    NEW.actor := session_user;
    NEW.application := current_setting('application_name', true);
    NEW.client := coalesce(host(inet_client_addr()), 'local');
    NEW.hash := sha256(convert_to(tenantctl.event_text(NEW), 'UTF8'));
    UPDATE tenantctl.event_head SET id = NEW.id, hash = NEW.hash;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION chain_event() FROM PUBLIC;

CREATE TRIGGER events_are_chained BEFORE INSERT ON events
    FOR EACH ROW EXECUTE FUNCTION chain_event();
