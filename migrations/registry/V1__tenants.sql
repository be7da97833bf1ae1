-- The registry: who the tenants are and where they live. One row per tenant, for ever: an id that
-- was used is never given to somebody else.
CREATE TABLE tenants (
    id text PRIMARY KEY CHECK (id ~ '^[a-z][a-z0-9_-]{0,47}$'),
    uuid uuid NOT NULL UNIQUE,
    key text NOT NULL CHECK (key <> ''),
    isolation text NOT NULL CHECK (isolation IN ('shared', 'schema', 'database')),
    cluster text NOT NULL,
    database text NOT NULL,
    schema text NOT NULL,
    owner text NOT NULL,
    roles text[] NOT NULL CHECK (cardinality(roles) > 0),
    tier text,
    region text,
    labels jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    state text NOT NULL CHECK (state IN ('provisioning', 'active', 'suspended', 'deleted')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Two tenants never share a schema or database that is one tenant's own.
CREATE UNIQUE INDEX tenants_own_schema ON tenants (cluster, database, schema) WHERE isolation <> 'shared';
CREATE UNIQUE INDEX tenants_own_database ON tenants (cluster, database) WHERE isolation = 'database';

-- Two tenants never share a value of the tenant column.
CREATE UNIQUE INDEX tenants_key ON tenants (cluster, database, schema, key) WHERE isolation = 'shared';
