-- Documents with full-text search, and tags that form trees.

CREATE TYPE document_state AS ENUM ('draft', 'published', 'archived');

CREATE TABLE documents (
    tenant_id  uuid           NOT NULL REFERENCES organisations (tenant_id),
    id         uuid           NOT NULL DEFAULT gen_random_uuid(),
    author_id  uuid,
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
    deleted_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, author_id) REFERENCES users (tenant_id, id)
);

-- There is no GIN index on search: @@ is not leakproof, so under row-level security the planner
-- would never use it. A search reads the rows of its own tenant; a tenant with so many that this
-- is slow has earned a schema of its own, where the index exists.
CREATE INDEX documents_live_recent ON documents (tenant_id, updated_at DESC, id)
    WHERE deleted_at IS NULL;
CREATE INDEX documents_author ON documents (tenant_id, author_id);
-- For the job that removes for good what was deleted long ago.
CREATE INDEX documents_deleted ON documents (tenant_id, deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TRIGGER documents_touch BEFORE UPDATE ON documents
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE tags (
    tenant_id  uuid        NOT NULL REFERENCES organisations (tenant_id),
    id         uuid        NOT NULL DEFAULT gen_random_uuid(),
    parent_id  uuid,
    name       text        NOT NULL CHECK (btrim(name) <> '' AND char_length(name) <= 100),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, parent_id) REFERENCES tags (tenant_id, id),
    -- Longer cycles are left to the application; queries that walk up should bound the depth.
    CHECK (parent_id <> id)
);

-- Two indexes, because a unique index lets any number of NULL parents through.
CREATE UNIQUE INDEX tags_live_name ON tags (tenant_id, parent_id, lower(name))
    WHERE parent_id IS NOT NULL AND deleted_at IS NULL;
CREATE UNIQUE INDEX tags_live_root_name ON tags (tenant_id, lower(name))
    WHERE parent_id IS NULL AND deleted_at IS NULL;
CREATE INDEX tags_parent ON tags (tenant_id, parent_id);

CREATE TRIGGER tags_touch BEFORE UPDATE ON tags
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- No cascade into an audited table: from PostgreSQL 18 on, the triggers of rows that a cascade
-- deletes run as the owner of the table, whom the audit log would name and a policy may stop.
CREATE TABLE document_tags (
    tenant_id   uuid        NOT NULL,
    document_id uuid        NOT NULL,
    tag_id      uuid        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, document_id, tag_id),
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents (tenant_id, id),
    FOREIGN KEY (tenant_id, tag_id) REFERENCES tags (tenant_id, id)
);

CREATE INDEX document_tags_tag ON document_tags (tenant_id, tag_id, document_id);
