-- One table of tickets; what its policy says is the question.
CREATE ROLE ticket_owner NOLOGIN;
CREATE ROLE ticket_app LOGIN;
CREATE SCHEMA desk AUTHORIZATION ticket_owner;
GRANT USAGE ON SCHEMA desk TO ticket_app;
SET ROLE ticket_owner;
CREATE TABLE desk.client (client text PRIMARY KEY, plan text NOT NULL DEFAULT 'basic');
CREATE TABLE desk.ticket (
    client text NOT NULL REFERENCES desk.client, no integer NOT NULL, subject text NOT NULL,
    public boolean NOT NULL DEFAULT false, assignee text, opened timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client, no));
ALTER TABLE desk.client ENABLE ROW LEVEL SECURITY;
CREATE POLICY itself ON desk.client FOR SELECT USING (client = current_setting('desk.client', true));
ALTER TABLE desk.ticket ENABLE ROW LEVEL SECURITY;
ALTER TABLE desk.ticket FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON desk.ticket
    USING (client = current_setting('desk.client', true)) WITH CHECK (client = current_setting('desk.client', true));
GRANT SELECT ON desk.client TO ticket_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON desk.ticket TO ticket_app;
RESET ROLE;
INSERT INTO desk.client VALUES ('acme'), ('acme-labs'), ('zenith');
INSERT INTO desk.ticket VALUES ('acme', 1, 'printer'), ('acme-labs', 1, 'laser'), ('zenith', 1, 'telescope');
