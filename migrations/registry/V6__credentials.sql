-- Passwords that were issued, never the passwords themselves: which login of which role works since
-- when and until when. Each role that logs in has two logins, itself and a second one, so that a new
-- password works before the old one ends.
CREATE TABLE credentials (
    cluster text NOT NULL,
    login text NOT NULL,
    role text NOT NULL,
    -- 'issuing': it may be on its way; 'current'; 'replaced' by the other login's; 'revoked'.
    state text NOT NULL CHECK (state IN ('issuing', 'current', 'replaced', 'revoked')),
    -- Unknown where something else has set the password.
    issued_at timestamptz,
    valid_until timestamptz NOT NULL DEFAULT 'infinity',
    -- When the one that it replaces ends: how a run that was cut off is told from one that was not.
    replaces_until timestamptz,
    actor text NOT NULL DEFAULT session_user,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (cluster, login),
    CHECK (state <> 'issuing' OR issued_at IS NOT NULL)
);

CREATE INDEX credentials_role ON credentials (cluster, role);

-- Names of settings that tiers gave to a tenant's roles or database, so that what a later tier does
-- not say is taken back, and nothing that somebody else has set.
CREATE TABLE limits (
    tenant text PRIMARY KEY,
    settings text[] NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
