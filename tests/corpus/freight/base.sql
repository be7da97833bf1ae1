-- Names that need quotes everywhere.
CREATE ROLE "Fracht-Besitz" NOLOGIN;
CREATE ROLE "Fracht App" LOGIN;
CREATE SCHEMA "Fracht Büro" AUTHORIZATION "Fracht-Besitz";
GRANT USAGE ON SCHEMA "Fracht Büro" TO "Fracht App";
SET ROLE "Fracht-Besitz";
CREATE TABLE "Fracht Büro"."Ladung.Liste" (
    "Kunden-Nr" text NOT NULL, "Nr" integer NOT NULL, "Was ist `drin`" text, PRIMARY KEY ("Kunden-Nr", "Nr"));
CREATE TABLE "Fracht Büro"."select" ("Kunden-Nr" text NOT NULL, "from" text NOT NULL DEFAULT 'x');
ALTER TABLE "Fracht Büro"."Ladung.Liste" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "Fracht Büro"."Ladung.Liste" FORCE ROW LEVEL SECURITY;
ALTER TABLE "Fracht Büro"."select" ENABLE ROW LEVEL SECURITY;
ALTER TABLE "Fracht Büro"."select" FORCE ROW LEVEL SECURITY;
CREATE POLICY "nur eigene; -- wirklich" ON "Fracht Büro"."Ladung.Liste" USING ("Kunden-Nr" = current_setting('fracht.kunde', true));
CREATE POLICY "nur eigene; -- wirklich" ON "Fracht Büro"."select" USING ("Kunden-Nr" = current_setting('fracht.kunde', true));
GRANT SELECT, INSERT, UPDATE, DELETE ON "Fracht Büro"."Ladung.Liste", "Fracht Büro"."select" TO "Fracht App";
RESET ROLE;
INSERT INTO "Fracht Büro"."Ladung.Liste" VALUES ('O''Neill & Söhne', 1, 'Äpfel'), ('Müller "Nord"', 1, 'Birnen');
INSERT INTO "Fracht Büro"."select" VALUES ('O''Neill & Söhne'), ('Müller "Nord"');
