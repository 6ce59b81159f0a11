use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::mirror::{Role, Scope};

/// What the description of the API tells of an operation.
pub(in crate::server) struct Entry {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub(in crate::server) method: &'static str,
    /// With names in braces.
    pub(in crate::server) path: &'static str,
    pub(in crate::server) summary: &'static str,
    pub(in crate::server) parameters: &'static [Parameter],
    /// What has to be sent.
    pub(in crate::server) body: Option<SchemaOf>,
    /// What comes back.
    pub(in crate::server) answer: SchemaOf,
    /// In which form.
    pub(in crate::server) media_type: &'static str,
    /// Who may: the token's scope and the lowest role of its account. `None`: everybody.
    pub(in crate::server) needs: Option<(Scope, Role)>,
    /// It takes `If-Match`.
    pub(in crate::server) takes_version: bool,
    /// What it answers has a version: an `ETag`.
    pub(in crate::server) gives_version: bool,
}

/// What nearly all answers are.
pub(in crate::server) const JSON: &str = "application/json";

/// Something that the query may have.
#[derive(Clone, Copy)]
pub(in crate::server) struct Parameter {
    pub(super) name: &'static str,
    /// What it means.
    pub(super) meaning: &'static str,
    /// Without it there is no answer.
    pub(super) is_needed: bool,
    pub(super) kind: Kind,
}

/// What a parameter's value is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// It may come several times.
    Texts,
    /// How many items.
    Limit,
}

/// A parameter that may be left out.
pub(in crate::server) const fn may(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter { name, meaning, is_needed: false, kind: Kind::Text }
}

/// A parameter without which there is no answer.
pub(in crate::server) const fn must(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter { is_needed: true, ..may(name, meaning) }
}

/// One that has to come at least once.
pub(in crate::server) const fn must_some(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter { kind: Kind::Texts, ..must(name, meaning) }
}

/// Makes the schema of a type.
pub(in crate::server) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of this type.
pub(in crate::server) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Of every long list.
pub(in crate::server) const PAGING: [Parameter; 2] = [
    Parameter { kind: Kind::Limit, ..may("limit", "how many items") },
    may("after", "only what stands after this one; `next` of an answer names the address"),
];
