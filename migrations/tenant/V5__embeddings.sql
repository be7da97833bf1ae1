-- Vectors of document chunks, on any PostgreSQL: no extension is needed to store them.
--
-- With pgvector, a later file adds a column of its type and the index that makes the search fast:
--     ALTER TABLE embeddings ADD COLUMN vector vector(768)
--         GENERATED ALWAYS AS (embedding::vector(768)) STORED;
--     CREATE INDEX embeddings_vector ON embeddings USING hnsw (vector vector_cosine_ops);
-- It needs one dimension for the whole table, and a model is usually replaced, not mixed: keep a
-- table for each model then.

-- Deleting a document takes its vectors along: they are derived from it, and not audited.
CREATE TABLE embeddings (
    id          uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    document_id uuid        NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    chunk       integer     NOT NULL DEFAULT 0 CHECK (chunk >= 0),
    model       text        NOT NULL CHECK (btrim(model) <> '' AND char_length(model) <= 100),
    dimension   integer     NOT NULL CHECK (dimension BETWEEN 1 AND 16000),
    embedding   real[]      NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    -- A vector of the wrong length would make every distance to it an error.
    CHECK (
        array_ndims(embedding) = 1
        AND cardinality(embedding) = dimension
        AND array_position(embedding, NULL) IS NULL
    ),
    UNIQUE (document_id, model, chunk)
);

CREATE INDEX embeddings_model ON embeddings (model);

CREATE TRIGGER embeddings_touch BEFORE UPDATE ON embeddings
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
