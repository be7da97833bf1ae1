-- What stands in the schemas of $1, one row per fact, spelled so that two tenants' rows are equal
-- when their objects are: names of the tenant's own give way to placeholders. One text serves
-- PostgreSQL 14 to 18; search_path is pg_catalog, so that every other name is printed with its schema.
WITH t AS MATERIALIZED (
    SELECT n.oid AS ns, n.nspowner AS ns_owner, n.nspacl AS ns_acl, p.*
    FROM jsonb_to_recordset($1::jsonb) AS p (
        schema text, whole_database boolean, schema_in_text text, schema_as_word text, owner text,
        role text, readonly text,
        own_names text[], id text)
    JOIN pg_namespace n ON n.nspname = p.schema
), ext AS MATERIALIZED (
    SELECT d.classid, d.objid FROM pg_depend d
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
), c AS MATERIALIZED (
    SELECT c.oid, c.relnamespace AS ns, quote_ident(c.relname) AS name, c.relkind AS kind, c.relowner AS owner,
           c.relacl AS acl, c.relrowsecurity AS secured, c.relforcerowsecurity AS forced, c.relpersistence AS persistence,
           c.reloptions AS options, c.relpartbound AS bound, c.relreplident AS identity
    FROM pg_class c JOIN t ON t.ns = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND c.relname <> ALL ('{refinery_schema_history,tenantctl_progress,tenantctl_repeatables}')
      AND c.oid NOT IN (SELECT objid FROM ext WHERE classid = 'pg_class'::regclass)
), f AS MATERIALIZED (
    SELECT p.oid, p.pronamespace AS ns, quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name,
           p.proowner AS owner, p.proacl AS acl
    FROM pg_proc p JOIN t ON t.ns = p.pronamespace
    WHERE p.oid NOT IN (SELECT objid FROM ext WHERE classid = 'pg_proc'::regclass)
), y AS MATERIALIZED (
    SELECT y.oid, y.typnamespace AS ns, quote_ident(y.typname) AS name, y.typtype AS kind, y.typowner AS owner, y.typacl AS acl,
           y.typbasetype AS base, y.typtypmod AS modifier, y.typnotnull AS not_null, y.typdefaultbin AS fallback
    FROM pg_type y JOIN t ON t.ns = y.typnamespace
    WHERE y.typtype IN ('e', 'd', 'r') AND y.oid NOT IN (SELECT objid FROM ext WHERE classid = 'pg_type'::regclass)
), fact (ns, kind, parent, object, definition) AS (
    -- Tables and views.
    SELECT c.ns, CASE c.kind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                             WHEN 'c' THEN 'type' ELSE 'table' END,
           NULL::text, c.name,
           concat_ws(' ',
               CASE c.persistence WHEN 'u' THEN 'unlogged' END,
               CASE c.kind WHEN 'f' THEN 'foreign' WHEN 'c' THEN 'composite'
                           WHEN 'p' THEN 'partitioned by ' || pg_get_partkeydef(c.oid) END,
               (SELECT 'child of ' || string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno)
                FROM pg_inherits i WHERE i.inhrelid = c.oid),
               CASE WHEN c.bound IS NOT NULL THEN pg_get_expr(c.bound, c.oid) END,
               'with (' || array_to_string(c.options, ', ') || ')',
               CASE c.identity WHEN 'f' THEN 'replica identity full' WHEN 'i' THEN 'replica identity by index' END,
               CASE WHEN c.kind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
               CASE WHEN c.kind = 'S' THEN
                   (SELECT format('%s start %s increment %s from %s to %s cache %s%s', format_type(s.seqtypid, NULL), s.seqstart,
                                  s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' cycle' ELSE '' END)
                    FROM pg_sequence s WHERE s.seqrelid = c.oid)
                   || coalesce((SELECT ' of ' || o.relname || '.' || a.attname
                                FROM pg_depend d JOIN pg_class o ON o.oid = d.refobjid
                                JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                                WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
                                  AND d.deptype IN ('a', 'i') LIMIT 1), '')
               END)
    FROM c
    UNION ALL
    SELECT c.ns, 'row security', c.name, c.name,
           CASE WHEN c.secured AND c.forced THEN 'enabled and forced' WHEN c.secured THEN 'enabled'
                WHEN c.forced THEN 'forced, not enabled' ELSE 'off' END
    FROM c WHERE c.kind IN ('r', 'p')
    UNION ALL
    -- Columns; their order is a fact of the table. A default has no columns in it: printed without
    -- its table, which is then neither opened nor waited for.
    SELECT c.ns, 'column', c.name, c.name || '.' || quote_ident(a.attname),
           format_type(a.atttypid, a.atttypmod)
           || CASE WHEN a.attcollation <> 0 AND a.attcollation <> y.typcollation THEN ' COLLATE ' || a.attcollation::regcollation ELSE '' END
           || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
           || CASE a.attidentity WHEN 'a' THEN ' GENERATED ALWAYS AS IDENTITY' WHEN 'd' THEN ' GENERATED BY DEFAULT AS IDENTITY' ELSE '' END
           || CASE WHEN d.adbin IS NULL THEN ''
                   WHEN a.attgenerated = '' THEN ' DEFAULT ' || pg_get_expr(d.adbin, 0)
                   ELSE ' GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ')'
                        || CASE a.attgenerated WHEN 's' THEN ' STORED' ELSE ' VIRTUAL' END END
    FROM c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type y ON y.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.kind <> 'S'
    UNION ALL
    SELECT c.ns, 'column order', c.name, c.name, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
    FROM c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.kind <> 'S' GROUP BY c.ns, c.oid, c.name
    UNION ALL
    -- Indexes; one that a constraint made is the constraint's, unless it cannot be used.
    SELECT c.ns, 'index', c.name, quote_ident(i.relname),
           pg_get_indexdef(x.indexrelid) || CASE WHEN x.indisvalid AND x.indisready THEN '' ELSE ' INVALID' END
    FROM pg_index x JOIN c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
    WHERE NOT (x.indisvalid AND x.indisready AND EXISTS (
        SELECT FROM pg_constraint k WHERE k.conrelid = x.indrelid AND k.conindid = x.indexrelid AND k.contype IN ('p', 'u', 'x')))
    UNION ALL
    SELECT c.ns, 'constraint', c.name, c.name || '.' || quote_ident(k.conname), pg_get_constraintdef(k.oid)
    FROM pg_constraint k JOIN c ON c.oid = k.conrelid
    WHERE k.contype IN ('p', 'u', 'x', 'c', 'f') OR (k.contype = 'n' AND NOT k.convalidated)
    UNION ALL
    -- A foreign key is kept by triggers, and is as good as dropped without them.
    SELECT c.ns, 'disabled foreign key', c.name, c.name || '.' || quote_ident(k.conname), ''
    FROM pg_trigger g JOIN c ON c.oid = g.tgrelid JOIN pg_constraint k ON k.oid = g.tgconstraint
    WHERE g.tgisinternal AND g.tgenabled = 'D' GROUP BY c.ns, c.name, k.oid, k.conname
    UNION ALL
    SELECT c.ns, 'trigger', c.name, c.name || '.' || quote_ident(g.tgname),
           pg_get_triggerdef(g.oid)
           || CASE g.tgenabled WHEN 'D' THEN ' DISABLED' WHEN 'R' THEN ' ON REPLICAS' WHEN 'A' THEN ' ALWAYS' ELSE '' END
    FROM pg_trigger g JOIN c ON c.oid = g.tgrelid WHERE NOT g.tgisinternal
    UNION ALL
    SELECT c.ns, 'rule', c.name, c.name || '.' || quote_ident(w.rulename),
           pg_get_ruledef(w.oid) || CASE w.ev_enabled WHEN 'D' THEN ' DISABLED' ELSE '' END
    FROM pg_rewrite w JOIN c ON c.oid = w.ev_class WHERE w.rulename <> '_RETURN'
    UNION ALL
    -- Whom a policy is for is a fact of its own: names sort differently in every tenant.
    SELECT c.ns, 'policy', c.name, c.name || '.' || quote_ident(p.polname),
           CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END
           || CASE p.polcmd WHEN 'r' THEN ' for SELECT' WHEN 'a' THEN ' for INSERT' WHEN 'w' THEN ' for UPDATE'
                            WHEN 'd' THEN ' for DELETE' ELSE ' for ALL' END
           || coalesce(' using (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
           || coalesce(' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
    FROM pg_policy p JOIN c ON c.oid = p.polrelid
    UNION ALL
    SELECT c.ns, 'policy role', c.name,
           c.name || '.' || quote_ident(p.polname) || ' to '
           || CASE r.role WHEN 0 THEN 'public' WHEN c.owner THEN 'its owner' ELSE quote_ident(pg_get_userbyid(r.role)) END, ''
    FROM pg_policy p JOIN c ON c.oid = p.polrelid CROSS JOIN LATERAL unnest(p.polroles) AS r (role)
    UNION ALL
    -- Functions.
    SELECT f.ns, 'function', NULL, f.name,
           concat_ws(' ',
               '(' || pg_get_function_arguments(f.oid) || ')',
               'returns ' || pg_get_function_result(f.oid),
               'language ' || l.lanname,
               CASE p.prokind WHEN 'w' THEN 'window' WHEN 'p' THEN 'procedure' WHEN 'a' THEN
                   (SELECT format('aggregate %s %s %s %s', g.aggtransfn, g.aggfinalfn, format_type(g.aggtranstype, NULL), g.agginitval)
                    FROM pg_aggregate g WHERE g.aggfnoid = p.oid) END,
               CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' END,
               CASE p.proparallel WHEN 's' THEN 'parallel safe' WHEN 'r' THEN 'parallel restricted' END,
               CASE WHEN p.proisstrict THEN 'strict' END,
               CASE WHEN p.proleakproof THEN 'leakproof' END,
               CASE WHEN p.prosecdef THEN 'security definer' END,
               'set (' || regexp_replace(array_to_string(p.proconfig, '; '), t.schema_as_word, '{schema}', 'g') || ')')
    FROM f JOIN pg_proc p ON p.oid = f.oid JOIN pg_language l ON l.oid = p.prolang JOIN t ON t.ns = f.ns
    UNION ALL
    SELECT f.ns, 'function body', f.name, f.name, coalesce(pg_get_function_sqlbody(f.oid), p.prosrc) || coalesce(p.probin, '')
    FROM f JOIN pg_proc p ON p.oid = f.oid
    UNION ALL
    -- Types.
    SELECT y.ns, 'type', NULL, y.name,
           CASE y.kind
               WHEN 'e' THEN (SELECT 'enum (' || string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) || ')'
                              FROM pg_enum e WHERE e.enumtypid = y.oid)
               WHEN 'r' THEN (SELECT 'range of ' || format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = y.oid)
               ELSE concat_ws(' ', 'domain over ' || format_type(y.base, y.modifier), CASE WHEN y.not_null THEN 'NOT NULL' END,
                              'DEFAULT ' || pg_get_expr(y.fallback, 0),
                              (SELECT string_agg(quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid), ' ' ORDER BY k.conname)
                               FROM pg_constraint k WHERE k.contypid = y.oid AND k.contype = 'c'))
           END
    FROM y
    UNION ALL
    SELECT s.stxnamespace, 'statistics', NULL, quote_ident(s.stxname), pg_get_statisticsobjdef(s.oid)
    FROM pg_statistic_ext s JOIN t ON t.ns = s.stxnamespace
    UNION ALL
    SELECT t.ns, 'extension', NULL, quote_ident(e.extname), 'version ' || e.extversion
    FROM pg_extension e JOIN t ON t.ns = e.extnamespace
    UNION ALL
    -- Owners and grants.
    SELECT o.ns, 'owner', o.name, o.word || ' ' || o.name, quote_ident(pg_get_userbyid(o.owner))
    FROM (SELECT ns, 'schema' AS word, '{schema}' AS name, ns_owner AS owner FROM t
          UNION ALL SELECT ns, 'relation', name, owner FROM c
          UNION ALL SELECT ns, 'function', name, owner FROM f
          UNION ALL SELECT ns, 'type', name, owner FROM y) o
    UNION ALL
    SELECT o.ns, 'grant', o.name,
           o.word || ' ' || o.name || ' to '
           || CASE x.grantee WHEN 0 THEN 'public' WHEN o.owner THEN 'its owner' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
           string_agg(DISTINCT x.privilege_type || CASE WHEN x.is_grantable AND x.grantee <> o.owner THEN ' with grant option' ELSE '' END, ', ')
    FROM (SELECT ns, 'schema' AS word, '{schema}' AS name, ns_owner AS owner, coalesce(ns_acl, acldefault('n', ns_owner)) AS acl FROM t
          UNION ALL
          SELECT t.ns, 'database', '{database}', d.datdba, coalesce(d.datacl, acldefault('d', d.datdba))
          FROM t JOIN pg_database d ON t.whole_database AND d.datname = current_database()
          UNION ALL
          SELECT ns, 'relation', name, owner, coalesce(acl, acldefault(CASE kind WHEN 'S' THEN 's' ELSE 'r' END::"char", owner))
          FROM c WHERE kind <> 'c'
          UNION ALL
          SELECT c.ns, 'column', c.name || '.' || quote_ident(a.attname), c.owner, a.attacl
          FROM c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped
          UNION ALL
          SELECT ns, 'function', name, owner, coalesce(acl, acldefault('f', owner)) FROM f
          UNION ALL
          SELECT ns, 'type', name, owner, coalesce(acl, acldefault('T', owner)) FROM y) o
    CROSS JOIN LATERAL aclexplode(o.acl) x
    GROUP BY o.ns, o.word, o.name, o.owner, x.grantee
    UNION ALL
    SELECT t.ns, 'default privileges', NULL,
           format('for %s on %s to %s',
                  CASE d.defaclrole WHEN t.ns_owner THEN 'the schema''s owner' ELSE quote_ident(pg_get_userbyid(d.defaclrole)) END,
                  CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types'
                                       ELSE d.defaclobjtype::text END,
                  CASE x.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(x.grantee)) END),
           string_agg(DISTINCT x.privilege_type || CASE WHEN x.is_grantable THEN ' with grant option' ELSE '' END, ', ')
    FROM pg_default_acl d JOIN t ON t.ns = d.defaclnamespace CROSS JOIN LATERAL aclexplode(d.defaclacl) x
    GROUP BY t.ns, t.ns_owner, d.defaclrole, d.defaclobjtype, x.grantee
), spelled AS (
    -- The most specific names first: a role's name may hold the schema's. OFFSET 0 keeps the server
    -- from printing a definition once for every place that reads it here.
    SELECT t.schema, CASE
               WHEN u.line LIKE ANY (t.own_names) THEN
                   regexp_replace(regexp_replace(regexp_replace(regexp_replace(replace(u.line, t.id, '{uuid}'),
                       t.owner, '{owner}', 'g'), t.role, '{role}', 'g'), t.readonly, '{readonly}', 'g'),
                       t.schema_in_text, '{schema}', 'g')
               WHEN strpos(u.line, t.schema) > 0 THEN regexp_replace(u.line, t.schema_in_text, '{schema}', 'g')
               ELSE u.line END AS line
    FROM (SELECT ns, concat_ws(chr(1), kind, coalesce(parent, ''), object, coalesce(definition, '')) AS line FROM fact OFFSET 0) u
    JOIN t ON t.ns = u.ns
)
