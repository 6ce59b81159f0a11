use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::mirror::{Role, Scope};

/// What the description of the API tells of an operation.
pub(in crate::server) struct Entry {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub(in crate::server) method: &'static str,
    /// With names in braces.
    pub(in crate::server) path: &'static str,
    pub(in crate::server) summary: &'static str,
    /// Of the query, with what they mean.
    pub(in crate::server) parameters: &'static [(&'static str, &'static str)],
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

/// Makes the schema of a type.
pub(in crate::server) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of this type.
pub(in crate::server) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Of every long list.
pub(in crate::server) const PAGING: [(&str, &str); 2] = [
    ("limit", "how many items: 1 to 500; without it 100"),
    ("after", "only what stands after this one; `next` of an answer names the address"),
];
