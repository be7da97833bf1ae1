-- An event store: events in hash partitions by tenant, the outbox by month.
CREATE ROLE es_owner NOLOGIN;
CREATE ROLE es_writer LOGIN;
CREATE ROLE es_reader LOGIN;
CREATE SCHEMA es AUTHORIZATION es_owner;
GRANT USAGE ON SCHEMA es TO es_writer, es_reader;
SET ROLE es_owner;
CREATE FUNCTION es.current_tenant_id() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    RETURN nullif(current_setting('app.tenant_id', true), '')::uuid;
CREATE TABLE es.event (
    tenant_id uuid NOT NULL, stream uuid NOT NULL, version integer NOT NULL, type text NOT NULL,
    data jsonb NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (tenant_id, stream, version)
) PARTITION BY HASH (tenant_id);
CREATE TABLE es.event_0 PARTITION OF es.event FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE es.event_1 PARTITION OF es.event FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE es.outbox (
    tenant_id uuid NOT NULL, at timestamptz NOT NULL DEFAULT '2026-01-10', message jsonb NOT NULL
) PARTITION BY RANGE (at);
CREATE TABLE es.outbox_2026_01 PARTITION OF es.outbox FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE es.outbox_rest PARTITION OF es.outbox DEFAULT;
CREATE INDEX ON es.event USING gin (data);
CREATE INDEX ON es.outbox USING brin (at);
ALTER TABLE es.event ENABLE ROW LEVEL SECURITY;
ALTER TABLE es.event FORCE ROW LEVEL SECURITY;
ALTER TABLE es.outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE es.outbox FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON es.event USING (tenant_id = (SELECT es.current_tenant_id()));
CREATE POLICY tenant ON es.outbox USING (tenant_id = (SELECT es.current_tenant_id()));
GRANT SELECT, INSERT ON es.event, es.outbox TO es_writer;
GRANT SELECT ON es.event TO es_reader;
RESET ROLE;
INSERT INTO es.event SELECT t::uuid, gen_random_uuid(), 1, 'made', jsonb_build_object('by', t) FROM unnest(ARRAY[
    '0a0a0a0a-0000-4000-8000-000000000001', '0b0b0b0b-0000-4000-8000-000000000002']) AS t;
INSERT INTO es.outbox (tenant_id, message) SELECT tenant_id, data FROM es.event;
