-- Runs over the fleet, newest ids last: an id is a UUID of version 7. Whether the process of a run
-- that is 'running' still lives, its advisory lock says.
CREATE TABLE runs (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('up', 'down')),
    state text NOT NULL CHECK (state IN ('running', 'done', 'failed', 'stopped', 'interrupted')),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    actor text NOT NULL DEFAULT session_user,
    asked text NOT NULL,
    goal bigint,
    CHECK ((state = 'running') = (finished_at IS NULL))
);

-- How each tenant of a run fares. The truth about its version is its own history; this is what the
-- run knew, and why it failed.
--
-- A row changes a few times within seconds, so its page keeps room for its next versions, and no
-- index holds anything that changes: an index on the state would be written by every change, and the
-- rows of one run are found by its id.
CREATE TABLE run_targets (
    run uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    tenant text NOT NULL,
    cluster text NOT NULL,
    database text NOT NULL,
    schema text NOT NULL,
    from_version bigint,
    goal bigint,
    applied bigint[] NOT NULL DEFAULT '{}',
    state text NOT NULL CHECK (
        state IN ('pending', 'running', 'waiting', 'applied', 'up-to-date', 'skipped', 'failed')
    ),
    cause text,
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    took_ms bigint NOT NULL DEFAULT 0 CHECK (took_ms >= 0),
    error_code text,
    error_sqlstate text,
    error_message text,
    error_location text,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run, tenant),
    CHECK (state <> 'failed' OR error_code IS NOT NULL),
    CHECK ((error_code IS NULL) = (error_message IS NULL))
) WITH (fillfactor = 50);

-- The newest runs of a tenant.
CREATE INDEX run_targets_tenant ON run_targets (tenant, run DESC);
