CREATE TYPE member_role AS ENUM ('viewer', 'editor', 'admin');
CREATE TABLE members (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id uuid NOT NULL REFERENCES teams (id),
    email text NOT NULL,
    role member_role NOT NULL DEFAULT 'viewer',
    last_seen_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX members_parent ON members (team_id);
CREATE INDEX members_1 ON members (lower(email));
CREATE INDEX members_2 ON members (last_seen_at DESC) WHERE last_seen_at IS NOT NULL;
COMMENT ON TABLE members IS 'One of the twelve tables of a tenant';
CREATE TRIGGER members_touch BEFORE UPDATE ON members FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE members ENABLE ROW LEVEL SECURITY;
CREATE POLICY members_read ON members FOR SELECT USING (true);
CREATE POLICY members_write ON members FOR ALL USING (current_setting('app.writes', true) = 'on');
GRANT SELECT ON members TO bench_app;
GRANT INSERT, UPDATE, DELETE ON members TO bench_app;
