-- Who changed what: one row for each row that was changed, with the row before and after.
--
-- The application says on whose behalf it acts: SET LOCAL app.actor = '<who>'. Rows are written
-- with the rights of whoever makes the change, so the application could add a false one; it can
-- never remove or alter one.

CREATE TABLE audit_log (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    actor      text        NOT NULL,
    db_user    text        NOT NULL DEFAULT current_user,
    action     text        NOT NULL CHECK (action IN ('INSERT', 'UPDATE', 'DELETE')),
    table_name text        NOT NULL,
    row_key    text,
    before     jsonb,
    after      jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((before IS NULL) = (action = 'INSERT') AND (after IS NULL) = (action = 'DELETE'))
);

CREATE INDEX audit_log_row ON audit_log (table_name, row_key, created_at DESC);
CREATE INDEX audit_log_actor ON audit_log (actor, created_at DESC);
CREATE INDEX audit_log_created ON audit_log USING brin (created_at);

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION keep_append_only();

-- The arguments are columns to leave out: secrets, and what is derived from other columns.
--
-- The statement is dynamic for the sake of one name: the schema that the changed table is in. It
-- comes from the catalog and is quoted; every value is a parameter. A pinned path with that schema
-- would break when the schema is renamed, and an unpinned one would let a temporary table named
-- audit_log swallow the rows.
CREATE FUNCTION record_audit() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    omitted text[] := coalesce(TG_ARGV, '{}');
    old_row jsonb  := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) - omitted END;
    new_row jsonb  := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) - omitted END;
    either  jsonb  := coalesce(new_row, old_row);
BEGIN
    IF TG_OP = 'UPDATE' AND old_row - 'updated_at' = new_row - 'updated_at' THEN
        RETURN NULL;
    END IF;
    EXECUTE format(
        'INSERT INTO %I.audit_log (actor, action, table_name, row_key, before, after)'
        ' VALUES ($1, $2, $3, $4, $5, $6)',
        TG_TABLE_SCHEMA
    ) USING
        coalesce(nullif(current_setting('app.actor', true), ''), current_user),
        TG_OP,
        TG_TABLE_NAME,
        coalesce(either ->> 'id', either ->> 'key', either ->> 'document_id'),
        old_row,
        new_row;
    RETURN NULL;
END
$$;

-- Events are a log already, and embeddings can be computed again.
CREATE TRIGGER organisations_audit AFTER INSERT OR UPDATE OR DELETE ON organisations
    FOR EACH ROW EXECUTE FUNCTION record_audit();
CREATE TRIGGER users_audit AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION record_audit();
-- Every request of a program sets last_used_at: that is use, not change.
CREATE TRIGGER api_keys_audit AFTER INSERT OR UPDATE OR DELETE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION record_audit('key_hash', 'last_used_at');
CREATE TRIGGER documents_audit AFTER INSERT OR UPDATE OR DELETE ON documents
    FOR EACH ROW EXECUTE FUNCTION record_audit('search');
CREATE TRIGGER tags_audit AFTER INSERT OR UPDATE OR DELETE ON tags
    FOR EACH ROW EXECUTE FUNCTION record_audit();
CREATE TRIGGER document_tags_audit AFTER INSERT OR UPDATE OR DELETE ON document_tags
    FOR EACH ROW EXECUTE FUNCTION record_audit();
CREATE TRIGGER settings_audit AFTER INSERT OR UPDATE OR DELETE ON settings
    FOR EACH ROW EXECUTE FUNCTION record_audit();
