-- Clubs in shared tables: a login for each club, which is the tenant, and no setting at all.
CREATE ROLE club_admin NOLOGIN;
CREATE ROLE club_members NOLOGIN;
CREATE ROLE club_chess LOGIN IN ROLE club_members;
CREATE ROLE club_golf LOGIN IN ROLE club_members;
CREATE SCHEMA clubs AUTHORIZATION club_admin;
GRANT USAGE ON SCHEMA clubs TO club_members;
SET ROLE club_admin;
CREATE TABLE clubs.club (slug text PRIMARY KEY, login name NOT NULL UNIQUE);
INSERT INTO clubs.club VALUES ('chess', 'club_chess'), ('golf', 'club_golf');
CREATE FUNCTION clubs.slug() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE s text;
BEGIN
    SELECT c.slug INTO s FROM clubs.club AS c WHERE c.login = session_user;
    IF s IS NULL THEN RAISE EXCEPTION 'no club logs in as %', session_user USING ERRCODE = '42501'; END IF;
    RETURN s;
END $$;
CREATE TABLE clubs.member (slug text NOT NULL REFERENCES clubs.club, email text NOT NULL, since date, fee money, PRIMARY KEY (slug, email));
CREATE TABLE clubs.news (slug text NOT NULL REFERENCES clubs.club, id integer GENERATED ALWAYS AS IDENTITY, body text NOT NULL, public boolean NOT NULL DEFAULT false, PRIMARY KEY (slug, id));
ALTER TABLE clubs.member ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE clubs.news ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON clubs.member USING (slug = (SELECT clubs.slug()));
CREATE POLICY own ON clubs.news USING (slug = (SELECT clubs.slug()));
GRANT SELECT, INSERT, UPDATE, DELETE ON clubs.member, clubs.news TO club_members;
RESET ROLE;
INSERT INTO clubs.member VALUES ('chess', 'a@chess.org'), ('golf', 'b@golf.org');
INSERT INTO clubs.news (slug, body) VALUES ('chess', 'mate'), ('golf', 'birdie');
