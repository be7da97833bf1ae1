-- Customers are told apart by a number. The pool logs in as web and is web.
CREATE ROLE crm_owner NOLOGIN;
CREATE ROLE crm_admin NOLOGIN BYPASSRLS;
CREATE ROLE web LOGIN NOINHERIT;
CREATE ROLE backup LOGIN BYPASSRLS;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA crm AUTHORIZATION crm_owner;
GRANT USAGE ON SCHEMA crm TO web, backup, crm_admin;
SET ROLE crm_owner;

CREATE FUNCTION crm.org() RETURNS integer LANGUAGE sql STABLE SET search_path = pg_catalog
    AS $$ SELECT nullif(current_setting('app.org', true), '')::integer $$;

CREATE TABLE crm.account (
    org_id integer NOT NULL,
    id integer GENERATED ALWAYS AS IDENTITY,
    title text NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE TABLE crm.contact (
    org_id integer NOT NULL,
    id integer GENERATED ALWAYS AS IDENTITY,
    account integer NOT NULL,
    email text NOT NULL,
    PRIMARY KEY (org_id, id),
    UNIQUE (org_id, email),
    FOREIGN KEY (org_id, account) REFERENCES crm.account (org_id, id)
);
CREATE TABLE crm.country (iso text PRIMARY KEY, name text NOT NULL);
INSERT INTO crm.country VALUES ('CH', 'Switzerland'), ('FR', 'France');

ALTER TABLE crm.account ENABLE ROW LEVEL SECURITY;
ALTER TABLE crm.contact ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON crm.account USING (org_id = (SELECT crm.org()));
CREATE POLICY mine ON crm.contact USING (org_id = (SELECT crm.org()));
GRANT SELECT, INSERT, UPDATE, DELETE ON crm.account, crm.contact TO web;
GRANT SELECT ON crm.country TO web;
GRANT SELECT ON ALL TABLES IN SCHEMA crm TO backup, crm_admin;

INSERT INTO crm.account (org_id, title) VALUES (7, 'Lakeside'), (8, 'Hillside');
INSERT INTO crm.contact (org_id, account, email) VALUES (7, 1, 'a@lake.example'), (8, 2, 'b@hill.example');
RESET ROLE;
