-- A database for each customer, named and owned as somebody liked it.
CREATE ROLE safe_gold_owner NOLOGIN;
CREATE ROLE safe_iron_owner NOLOGIN;
CREATE ROLE gold LOGIN;
CREATE ROLE iron LOGIN;
ALTER DATABASE safe_gold OWNER TO safe_gold_owner;
ALTER DATABASE safe_iron OWNER TO safe_iron_owner;
REVOKE ALL ON DATABASE safe_gold, safe_iron FROM PUBLIC;
GRANT CONNECT ON DATABASE safe_gold TO gold;
GRANT CONNECT ON DATABASE safe_iron TO iron;
\connect safe_gold
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO gold;
CREATE TABLE public.deed (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, words text NOT NULL);
ALTER TABLE public.deed OWNER TO safe_gold_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.deed TO gold;
INSERT INTO public.deed (words) VALUES ('gold deed');
\connect safe_iron
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO iron;
CREATE TABLE public.deed (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, words text NOT NULL);
ALTER TABLE public.deed OWNER TO safe_iron_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.deed TO iron;
INSERT INTO public.deed (words) VALUES ('iron deed');
