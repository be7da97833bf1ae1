ALTER TABLE projects ADD COLUMN priority integer NOT NULL DEFAULT 0;
CREATE INDEX projects_priority ON projects (priority);
