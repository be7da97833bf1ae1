-- Courses of schools. Material of nobody is everybody's to read; teachers and pupils are two roles.
CREATE ROLE lms_dba NOLOGIN;
CREATE ROLE teacher LOGIN;
CREATE ROLE pupil LOGIN;
CREATE SCHEMA lms AUTHORIZATION lms_dba;
GRANT USAGE ON SCHEMA lms TO teacher, pupil;
SET ROLE lms_dba;
CREATE DOMAIN lms.school_id AS integer CHECK (VALUE > 0);
CREATE FUNCTION lms.school() RETURNS integer LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE said text := current_setting('lms.school', true);
BEGIN
    IF said IS NULL OR said !~ '^[0-9]+$' THEN RETURN NULL; END IF;
    RETURN said::integer;
END $$;
CREATE TABLE lms.course (school lms.school_id NOT NULL, code text NOT NULL, title text NOT NULL, PRIMARY KEY (school, code));
CREATE TABLE lms.grade (
    school lms.school_id NOT NULL, course text NOT NULL, pupil text NOT NULL, points numeric(4, 1) NOT NULL CHECK (points BETWEEN 0 AND 15),
    PRIMARY KEY (school, course, pupil), FOREIGN KEY (school, course) REFERENCES lms.course ON DELETE CASCADE);
CREATE TABLE lms.material (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, school integer, title text NOT NULL);
ALTER TABLE lms.course ENABLE ROW LEVEL SECURITY; ALTER TABLE lms.course FORCE ROW LEVEL SECURITY;
ALTER TABLE lms.grade ENABLE ROW LEVEL SECURITY; ALTER TABLE lms.grade FORCE ROW LEVEL SECURITY;
ALTER TABLE lms.material ENABLE ROW LEVEL SECURITY; ALTER TABLE lms.material FORCE ROW LEVEL SECURITY;
CREATE POLICY school ON lms.course USING (school = lms.school());
CREATE POLICY teach ON lms.grade TO teacher USING (school = lms.school());
CREATE POLICY look ON lms.grade FOR SELECT TO pupil USING (school = lms.school() AND pupil = current_setting('lms.pupil', true));
CREATE POLICY read ON lms.material FOR SELECT USING (school IS NULL OR school = lms.school());
CREATE POLICY add ON lms.material FOR INSERT TO teacher WITH CHECK (school = lms.school());
CREATE POLICY edit ON lms.material FOR UPDATE TO teacher USING (school = lms.school());
GRANT SELECT ON lms.course, lms.material TO pupil, teacher;
GRANT SELECT ON lms.grade TO pupil;
GRANT SELECT, INSERT, UPDATE, DELETE ON lms.course, lms.grade TO teacher;
GRANT INSERT, UPDATE ON lms.material TO teacher;
RESET ROLE;
INSERT INTO lms.course VALUES (11, 'm', 'Maths'), (12, 'p', 'Physics');
INSERT INTO lms.grade VALUES (11, 'm', 'Pia', 12), (12, 'p', 'Quin', 7);
INSERT INTO lms.material (school, title) VALUES (NULL, 'house rules'), (11, 'sheet'), (12, 'exam');
