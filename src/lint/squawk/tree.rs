//! From squawk's syntax tree to [`Act`]s.
//!
//! Goes by the kinds of nodes, not by squawk's typed tree: kinds follow PostgreSQL's grammar, the
//! types follow squawk's. What the parser does not understand is reported with its place and left
//! out; nothing here fails.

use std::ops::Range;

use squawk_syntax::ast::AstNode as _;
use squawk_syntax::{SourceFile, SyntaxElement, SyntaxKind as K, SyntaxNode};

use crate::lint::statement::{
    Act, Action, Column, ForeignKey, Key, NewIndex, NewTable, ObjectName, Parts, Routine,
};

/// A name that says which schema it is in.
#[derive(Clone, Debug)]
pub(in crate::lint) struct Qualified {
    pub(in crate::lint) name: ObjectName,
    /// Whether it is a function's or a type's, not a table's or the like.
    pub(in crate::lint) callable: bool,
    /// Whether this statement makes it.
    pub(in crate::lint) made: bool,
}

/// What stands in a file.
pub(in crate::lint) struct Reading {
    pub(in crate::lint) acts: Vec<Act>,
    pub(in crate::lint) qualified: Vec<Qualified>,
    /// Where the parser lost its way, and what it says.
    pub(in crate::lint) errors: Vec<(Range<usize>, String)>,
}

/// Reads a file.
pub(in crate::lint) fn read(sql: &str) -> Reading {
    let parsed = SourceFile::parse(sql);
    let root = parsed.tree().syntax().clone();
    let errors = parsed
        .errors()
        .iter()
        .map(|error| {
            let range = error.range();
            (range.start().into()..range.end().into(), error.message().to_owned())
        })
        .collect();
    let mut acts = Vec::new();
    for statement in root.children() {
        act(&statement, &mut acts);
    }
    Reading { acts, qualified: qualified(&root), errors }
}

fn act(node: &SyntaxNode, acts: &mut Vec<Act>) {
    match node.kind() {
        K::CREATE_TABLE | K::CREATE_TABLE_AS => acts.extend(create_table(node)),
        K::ALTER_TABLE => alter_table(node, acts),
        K::DROP_TABLE => acts
            .extend(children(node, K::TABLE_NAME_REF).filter_map(|n| name(&n)).map(Act::DropTable)),
        K::CREATE_INDEX => acts.extend(create_index(node)),
        K::DROP_INDEX => {
            acts.extend(children(node, K::INDEX_REF).filter_map(|n| name(&n)).map(Act::DropIndex));
        }
        K::CREATE_POLICY => acts.extend(on_table(node).map(Act::CreatePolicy)),
        K::DROP_POLICY => acts.extend(on_table(node).map(Act::DropPolicy)),
        K::CREATE_EXTENSION => {
            acts.extend(child(node, K::EXTENSION).as_ref().and_then(name).map(|name| {
                Act::CreateExtension {
                    name,
                    schema: child(node, K::EXTENSION_SCHEMA)
                        .and_then(|clause| child(&clause, K::SCHEMA_REF))
                        .map(|schema| word(&schema)),
                }
            }));
        }
        K::CREATE_FUNCTION | K::CREATE_PROCEDURE => acts.extend(routine(node)),
        K::ALTER_FUNCTION | K::ALTER_PROCEDURE | K::ALTER_ROUTINE => {
            acts.extend(alter_routine(node));
        }
        K::CREATE_MATERIALIZED_VIEW => {
            acts.extend(
                child(node, K::VIEW).as_ref().and_then(name).map(Act::CreateMaterializedView),
            );
        }
        K::CREATE_SCHEMA => acts.extend(
            node.children()
                .find(|part| part.kind() != K::IF_NOT_EXISTS)
                .as_ref()
                .and_then(name)
                .map(Act::CreateSchema),
        ),
        K::GRANT | K::ALTER_DEFAULT_PRIVILEGES => acts.extend(grant_to_public(node)),
        K::CREATE_ROLE
        | K::ALTER_ROLE
        | K::DROP_ROLE
        | K::CREATE_USER
        | K::ALTER_USER
        | K::DROP_USER
        | K::CREATE_GROUP
        | K::ALTER_GROUP
        | K::DROP_GROUP
        | K::CREATE_DATABASE
        | K::ALTER_DATABASE
        | K::DROP_DATABASE
        | K::CREATE_TABLESPACE
        | K::ALTER_TABLESPACE
        | K::DROP_TABLESPACE
        | K::ALTER_SYSTEM => {
            acts.push(Act::Cluster { range: range(node), what: words(node, 2) });
        }
        _ => {}
    }
}

fn create_table(node: &SyntaxNode) -> Option<Act> {
    let name = name(&child(node, K::TABLE_NAME)?)?;
    let mut table = NewTable {
        name,
        parts: Parts::default(),
        copied: Vec::new(),
        open: node.kind() == K::CREATE_TABLE_AS || child(node, K::OF_TYPE).is_some(),
        partition: child(node, K::PARTITION_OF).is_some(),
        temporary: child(node, K::TEMP).is_some(),
    };
    for argument in child(node, K::TABLE_ARG_LIST).iter().flat_map(SyntaxNode::children) {
        match argument.kind() {
            K::COLUMN => column(&argument, &mut table.parts),
            K::LIKE_CLAUSE => {
                table
                    .copied
                    .extend(child(&argument, K::RELATION_NAME_REF).as_ref().and_then(self::name));
            }
            _ => constraint(&argument, None, &mut table.parts),
        }
    }
    if let Some(inherits) = child(node, K::INHERITS) {
        table.copied.extend(children(&inherits, K::TABLE_NAME_REF).filter_map(|n| self::name(&n)));
    }
    Some(Act::CreateTable(table))
}

/// A column with the constraints that are written behind it; also what `ADD COLUMN` adds.
fn column(node: &SyntaxNode, parts: &mut Parts) {
    let Some(name) = child(node, K::COLUMN_NAME).map(|name| word(&name)) else { return };
    let ty = node.children().find(|part| is_type(part.kind())).map(|ty| spaced(&ty).to_lowercase());
    let mut column =
        Column { name: name.clone(), ty: ty.unwrap_or_default(), not_null: false, default: None };
    for part in node.children() {
        match part.kind() {
            K::NOT_NULL_CONSTRAINT | K::PRIMARY_KEY_CONSTRAINT => column.not_null = true,
            K::DEFAULT_CONSTRAINT => {
                column.default = part.children().last().map(|value| spaced(&value));
            }
            K::GENERATED_CONSTRAINT => column.default = Some("generated".to_owned()),
            _ => {}
        }
        constraint(&part, Some(&name), parts);
    }
    if column.ty.contains("serial") {
        column.not_null = true;
        column.default = Some("nextval".to_owned());
    }
    parts.columns.push(column);
}

fn is_type(kind: K) -> bool {
    matches!(
        kind,
        K::ARRAY_TYPE
            | K::PATH_TYPE
            | K::VARCHAR_TYPE
            | K::CHARACTER_TYPE
            | K::BIT_TYPE
            | K::BIT_VARYING_TYPE
            | K::DOUBLE_TYPE
            | K::TIME_TYPE
            | K::TIMESTAMP_TYPE
            | K::INTERVAL_TYPE
    )
}

/// A constraint of a table, or of the column that it stands behind.
fn constraint(node: &SyntaxNode, column: Option<&str>, parts: &mut Parts) {
    let label = child(node, K::CONSTRAINT_NAME_CLAUSE)
        .and_then(|clause| child(&clause, K::CONSTRAINT_NAME))
        .map(|name| word(&name));
    match node.kind() {
        K::PRIMARY_KEY_CONSTRAINT | K::UNIQUE_CONSTRAINT => {
            let listed = child(node, K::INDEX_PARAMETERS)
                .and_then(|parameters| child(&parameters, K::CONSTRAINT_COLUMN_REF_LIST))
                .map(|list| columns(&list));
            let from_index = child(node, K::USING_INDEX_NAME)
                .and_then(|using| child(&using, K::INDEX_REF))
                .as_ref()
                .and_then(name)
                .map(|index| index.name);
            parts.keys.push(Key {
                name: label,
                primary: node.kind() == K::PRIMARY_KEY_CONSTRAINT,
                columns: listed.unwrap_or_else(|| column.map(str::to_owned).into_iter().collect()),
                from_index,
                range: range(node),
            });
        }
        K::FOREIGN_KEY_CONSTRAINT | K::REFERENCES_CONSTRAINT => {
            let Some(target) = child(node, K::TABLE_NAME_REF).as_ref().and_then(name) else {
                return;
            };
            // The first list holds the table's own columns, the second those it refers to.
            let own = child(node, K::FOREIGN_KEY_COLUMN_LIST).map(|list| columns(&list));
            parts.foreign_keys.push(ForeignKey {
                name: label,
                columns: own.unwrap_or_else(|| column.map(str::to_owned).into_iter().collect()),
                target,
                range: range(node),
            });
        }
        _ => {}
    }
}

fn alter_table(node: &SyntaxNode, acts: &mut Vec<Act>) {
    let Some(table) = child(node, K::TABLE_RELATION_NAME).as_ref().and_then(name) else { return };
    for part in node.children() {
        let own = |kind| child(&part, kind).map(|name| word(&name));
        let action = match part.kind() {
            K::ADD_COLUMN => {
                let mut parts = Parts::default();
                column(&part, &mut parts);
                Some(Action::Add(parts))
            }
            K::ADD_CONSTRAINT => {
                let mut parts = Parts::default();
                for added in part.children() {
                    constraint(&added, None, &mut parts);
                }
                Some(Action::Add(parts))
            }
            K::DROP_COLUMN => own(K::COLUMN_NAME_REF).map(Action::DropColumn),
            K::DROP_CONSTRAINT => own(K::CONSTRAINT_NAME_REF).map(Action::DropConstraint),
            K::RENAME_COLUMN => own(K::COLUMN_NAME_REF)
                .zip(own(K::COLUMN_NAME))
                .map(|(from, to)| Action::RenameColumn(from, to)),
            K::TABLE_RENAME_TO => own(K::TABLE_NAME).map(Action::RenameTable),
            K::ENABLE_RLS => Some(Action::RowSecurity(true)),
            K::DISABLE_RLS => Some(Action::RowSecurity(false)),
            K::FORCE_RLS => Some(Action::ForceRowSecurity(true)),
            K::NO_FORCE_RLS => Some(Action::ForceRowSecurity(false)),
            K::ALTER_COLUMN => alter_column(&part),
            K::ATTACH_PARTITION => {
                child(&part, K::TABLE_NAME_REF).as_ref().and_then(name).map(Action::AttachPartition)
            }
            _ => None,
        };
        acts.extend(action.map(|action| Act::AlterTable {
            table: table.clone(),
            action,
            range: range(&part),
        }));
    }
}

fn alter_column(node: &SyntaxNode) -> Option<Action> {
    let column = word(&child(node, K::COLUMN_NAME_REF)?);
    node.children().find_map(|part| match part.kind() {
        K::SET_NOT_NULL => Some(Action::NotNull(column.clone(), true)),
        K::DROP_NOT_NULL => Some(Action::NotNull(column.clone(), false)),
        K::SET_DEFAULT => Some(Action::Default(
            column.clone(),
            part.children().last().map(|value| spaced(&value)),
        )),
        K::DROP_DEFAULT => Some(Action::Default(column.clone(), None)),
        K::SET_TYPE => part
            .children()
            .find(|ty| is_type(ty.kind()))
            .map(|ty| Action::Type(column.clone(), spaced(&ty).to_lowercase())),
        _ => None,
    })
}

fn create_index(node: &SyntaxNode) -> Option<Act> {
    let items = child(node, K::PARTITION_ITEM_LIST)?;
    Some(Act::CreateIndex(NewIndex {
        name: child(node, K::INDEX).as_ref().and_then(name),
        table: name(&child(node, K::TABLE_RELATION_NAME)?)?,
        columns: children(&items, K::PARTITION_ITEM)
            .map(|item| {
                item.children()
                    .next()
                    .filter(|part| part.kind() == K::NAME_REF)
                    .map(|part| word(&part))
            })
            .collect(),
        unique: has(node, K::UNIQUE_KW),
        concurrently: has(node, K::CONCURRENTLY_KW),
        method: child(node, K::USING_METHOD)
            .and_then(|using| child(&using, K::ACCESS_METHOD_REF))
            .map_or_else(|| "btree".to_owned(), |method| word(&method)),
        predicate: child(node, K::WHERE_CLAUSE)
            .and_then(|clause| clause.children().next())
            .map(|condition| spaced(&condition).to_lowercase()),
        range: range(node),
    }))
}

fn on_table(node: &SyntaxNode) -> Option<ObjectName> {
    name(&child(&child(node, K::ON_TABLE)?, K::TABLE_NAME_REF)?)
}

fn routine(node: &SyntaxNode) -> Option<Act> {
    let kind = if node.kind() == K::CREATE_FUNCTION { K::FUNCTION_NAME } else { K::PROCEDURE_NAME };
    let options = child(node, K::FUNC_OPTION_LIST);
    let language = options
        .as_ref()
        .and_then(|options| child(options, K::LANGUAGE_FUNC_OPTION))
        .map(|option| spaced(&option).to_lowercase())
        .unwrap_or_default();
    let as_text =
        options.as_ref().is_some_and(|options| child(options, K::AS_FUNC_OPTION).is_some());
    Some(Act::CreateRoutine(Routine {
        name: name(&child(node, kind)?)?,
        definer: options.as_ref().and_then(definer) == Some(true),
        pinned: options.as_ref().is_some_and(pins),
        // A body that is no string is bound to its objects when it is made.
        late: as_text && !language.ends_with(" c") && !language.ends_with(" internal"),
    }))
}

fn alter_routine(node: &SyntaxNode) -> Option<Act> {
    let options = child(node, K::FUNC_OPTION_LIST)?;
    let routine = node.children().find_map(|part| {
        part.children().find(|inner| {
            inner.kind() == K::FUNCTION_NAME_REF
                || inner.kind() == K::PROCEDURE_NAME_REF
                || inner.kind() == K::ROUTINE_NAME_REF
        })
    })?;
    Some(Act::AlterRoutine {
        name: name(&routine)?,
        definer: definer(&options),
        pinned: pins(&options),
    })
}

fn definer(options: &SyntaxNode) -> Option<bool> {
    options.children().find_map(|option| match option.kind() {
        K::SECURITY_DEFINER_FUNC_OPTION => Some(true),
        K::SECURITY_INVOKER_FUNC_OPTION => Some(false),
        _ => None,
    })
}

fn pins(options: &SyntaxNode) -> bool {
    children(options, K::SET_FUNC_OPTION)
        .filter_map(|option| child(&option, K::SET_CONFIG_PARAM))
        .filter_map(|parameter| child(&parameter, K::CONFIG_PARAMETER_REF))
        .any(|parameter| word(&parameter) == "search_path")
}

fn grant_to_public(node: &SyntaxNode) -> Option<Act> {
    let grant = node
        .descendants()
        .find(|part| matches!(part.kind(), K::GRANT | K::GRANT_DEFAULT_PRIVILEGES))?;
    let everybody = children(&child(&grant, K::ROLE_REF_LIST)?, K::ROLE_REF)
        .find(|role| spaced(role).eq_ignore_ascii_case("public"))?;
    let text = spaced(node).to_lowercase();
    let routines = ["execute on", "usage on type", "on functions", "on routines", "on types"]
        .iter()
        .any(|words| text.contains(words));
    Some(Act::GrantToPublic { range: range(&everybody), routines })
}

/// Every name that is written with its schema, except columns and settings.
fn qualified(root: &SyntaxNode) -> Vec<Qualified> {
    let mut found = Vec::new();
    for node in root.descendants() {
        let parent = node.parent().map_or(K::SOURCE_FILE, |parent| parent.kind());
        let of_column = parent == K::PATH_REF
            && node.ancestors().any(|a| a.kind() == K::QUALIFIED_COLUMN_NAME_REF);
        let relevant = match node.kind() {
            K::PATH => parent != K::PATH,
            K::PATH_REF if of_column => true,
            K::PATH_REF => !matches!(
                parent,
                K::PATH_REF | K::QUALIFIED_COLUMN_NAME_REF | K::CONFIG_PARAMETER_REF
            ),
            // A function that is called: `schema.function(…)`.
            K::FIELD_EXPR => parent == K::CALL_EXPR,
            _ => false,
        };
        if !relevant {
            continue;
        }
        let Some(name) = name(&node).filter(|name| name.schema.is_some()) else { continue };
        found.push(Qualified {
            name,
            callable: matches!(parent, K::PATH_TYPE | K::CALL_EXPR | K::OP_CLASS_REF),
            made: node.kind() == K::PATH,
        });
    }
    found
}

fn child(node: &SyntaxNode, kind: K) -> Option<SyntaxNode> {
    node.children().find(|child| child.kind() == kind)
}

fn children(node: &SyntaxNode, kind: K) -> impl Iterator<Item = SyntaxNode> {
    node.children().filter(move |child| child.kind() == kind)
}

fn has(node: &SyntaxNode, token: K) -> bool {
    node.children_with_tokens().any(|part| part.kind() == token)
}

/// The words below a node that are neither white space nor comments, with their places.
fn tokens(node: &SyntaxNode) -> impl Iterator<Item = (String, Range<usize>)> {
    node.descendants_with_tokens().filter_map(SyntaxElement::into_token).filter_map(|token| {
        let range = token.text_range();
        (!matches!(token.kind(), K::WHITESPACE | K::COMMENT))
            .then(|| (token.text().to_owned(), range.start().into()..range.end().into()))
    })
}

/// A node's bytes without the white space, comments and semicolon around it.
fn range(node: &SyntaxNode) -> Range<usize> {
    let mut kept = tokens(node).map(|(_, range)| range);
    let first = kept.next().unwrap_or_else(|| {
        let range = node.text_range();
        range.start().into()..range.end().into()
    });
    let last = tokens(node).filter(|(text, _)| text != ";").last();
    first.start..last.map_or(first.end, |(_, range)| range.end)
}

/// The text of a node with single blanks between its words.
fn spaced(node: &SyntaxNode) -> String {
    tokens(node).map(|(text, _)| text).collect::<Vec<_>>().join(" ")
}

/// The first words of a statement, in upper case.
fn words(node: &SyntaxNode, count: usize) -> String {
    tokens(node).take(count).map(|(text, _)| text.to_uppercase()).collect::<Vec<_>>().join(" ")
}

/// The last word of a node, as PostgreSQL folds it.
fn word(node: &SyntaxNode) -> String {
    tokens(node).last().map(|(text, _)| folded(&text)).unwrap_or_default()
}

/// The name that a node holds: at most its last two parts.
fn name(node: &SyntaxNode) -> Option<ObjectName> {
    let parts: Vec<(String, Range<usize>)> = tokens(node)
        .filter(|(text, _)| {
            !matches!(text.as_str(), "." | "(" | ")" | "*") && !text.eq_ignore_ascii_case("only")
        })
        .collect();
    let (last, before) = parts.split_last()?;
    Some(ObjectName {
        schema: before.last().map(|(text, _)| folded(text)),
        name: folded(&last.0),
        range: parts.first()?.1.start..last.1.end,
    })
}

fn columns(list: &SyntaxNode) -> Vec<String> {
    children(list, K::COLUMN_NAME_REF).map(|column| word(&column)).collect()
}

fn folded(text: &str) -> String {
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => text.to_lowercase(),
    }
}
