-- Every client is a role; rows carry the name of the role. The pool is nobody and becomes them.
CREATE ROLE help_owner NOLOGIN;
CREATE ROLE help_pool LOGIN NOINHERIT;
CREATE ROLE help_red NOLOGIN;
CREATE ROLE help_green NOLOGIN;
GRANT help_red, help_green TO help_pool;
CREATE SCHEMA help AUTHORIZATION help_owner;
GRANT USAGE ON SCHEMA help TO help_red, help_green;
SET ROLE help_owner;
CREATE TABLE help.thread (
    client text NOT NULL DEFAULT current_user, id integer GENERATED ALWAYS AS IDENTITY, title text NOT NULL,
    PRIMARY KEY (client, id));
ALTER TABLE help.thread ENABLE ROW LEVEL SECURITY;
ALTER TABLE help.thread FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON help.thread USING (client = current_user);
GRANT SELECT, INSERT, UPDATE, DELETE ON help.thread TO help_red, help_green;
RESET ROLE;
INSERT INTO help.thread (client, title) VALUES ('help_red', 'slow'), ('help_green', 'broken');
