-- Documents with full-text search, and tags that form trees.

CREATE TYPE document_state AS ENUM ('draft', 'published', 'archived');

CREATE TABLE documents (
    id         uuid           PRIMARY KEY DEFAULT gen_random_uuid(),
    author_id  uuid           REFERENCES users (id),
    state      document_state NOT NULL DEFAULT 'draft',
    title      text           NOT NULL CHECK (btrim(title) <> '' AND char_length(title) <= 500),
    body       text           NOT NULL DEFAULT '',
    metadata   jsonb          NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    -- 'simple' knows no language and so suits all of them; take 'english' or another where the
    -- language is known. A tsvector holds less than 1 MB: the tail of a huge body is not searched.
    search     tsvector       GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', title), 'A')
        || setweight(to_tsvector('simple', left(body, 200000)), 'B')
    ) STORED,
    created_at timestamptz    NOT NULL DEFAULT now(),
    updated_at timestamptz    NOT NULL DEFAULT now(),
    deleted_at timestamptz
);

CREATE INDEX documents_search ON documents USING gin (search) WHERE deleted_at IS NULL;
CREATE INDEX documents_live_recent ON documents (updated_at DESC, id) WHERE deleted_at IS NULL;
CREATE INDEX documents_author ON documents (author_id);
-- For the job that removes for good what was deleted long ago.
CREATE INDEX documents_deleted ON documents (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TRIGGER documents_touch BEFORE UPDATE ON documents
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE tags (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    parent_id  uuid        REFERENCES tags (id),
    name       text        NOT NULL CHECK (btrim(name) <> '' AND char_length(name) <= 100),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    -- Longer cycles are left to the application; queries that walk up should bound the depth.
    CHECK (parent_id <> id)
);

-- Two indexes, because a unique index lets any number of NULL parents through.
CREATE UNIQUE INDEX tags_live_name ON tags (parent_id, lower(name))
    WHERE parent_id IS NOT NULL AND deleted_at IS NULL;
CREATE UNIQUE INDEX tags_live_root_name ON tags (lower(name))
    WHERE parent_id IS NULL AND deleted_at IS NULL;
CREATE INDEX tags_parent ON tags (parent_id);

CREATE TRIGGER tags_touch BEFORE UPDATE ON tags
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- No cascade into an audited table: from PostgreSQL 18 on, the triggers of rows that a cascade
-- deletes run as the owner of the table, whom the audit log would name and a policy may stop.
CREATE TABLE document_tags (
    document_id uuid        NOT NULL REFERENCES documents (id),
    tag_id      uuid        NOT NULL REFERENCES tags (id),
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (document_id, tag_id)
);

CREATE INDEX document_tags_tag ON document_tags (tag_id, document_id);
