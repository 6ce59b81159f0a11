use serde_json::Value;

use super::{
    super::{Access, Change, Desk, Refusal},
    answer::Done,
    body::Body,
};
use crate::{
    mirror::{Role, Scope},
    server::api::{Entry, JSON, PAGING, Parameter, SchemaOf, of},
};

/// Something that programs can do at the desk.
pub(super) struct Operation {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub(super) method: &'static str,
    /// Below `/api/v1`.
    pub(super) path: &'static str,
    summary: &'static str,
    pub(super) access: Access,
    /// The lowest role that may.
    pub(super) least: Role,
    /// What a token has to be good for.
    pub(super) scope: Scope,
    pub(super) body: Option<Body>,
    answer: SchemaOf,
    parameters: &'static [Parameter],
    pub(super) work: Work,
    /// It makes something.
    pub(super) is_new: bool,
}

/// Tells something, as JSON.
pub(super) type Read = fn(&mut Desk<'_>) -> Result<Value, Refusal>;

pub(super) enum Work {
    Read(Read),
    /// It has a version.
    Show(&'static Resource),
    Change(Change),
    /// What is not sent stays as it is.
    Edit(&'static Resource, Change),
    /// The page's form asks for the name, to be sure; a program is.
    Remove(&'static Resource, Change),
}

/// Something that can be edited.
pub(super) struct Resource {
    pub(super) read: Read,
    /// What of it this account can change: this is what makes its version.
    pub(super) fields: fn(&mut Desk<'_>) -> Result<Vec<&'static str>, Refusal>,
}

/// Who may do what, and what for.
#[derive(Clone, Copy)]
pub(super) struct Needs(pub(super) Access, pub(super) Role, pub(super) Scope);

impl Operation {
    const fn new(
        method: &'static str,
        path: &'static str,
        summary: &'static str,
        needs: Needs,
        work: Work,
    ) -> Self {
        let Needs(access, least, scope) = needs;
        let (body, answer, parameters) = (None, of::<Done> as SchemaOf, &[] as &[_]);
        Self { method, path, summary, access, least, scope, body, answer, parameters, work, is_new: false }
    }

    /// `GET`
    pub(super) const fn read(
        path: &'static str,
        summary: &'static str,
        needs: Needs,
        read: Read,
        answer: SchemaOf,
    ) -> Self {
        Self { answer, ..Self::new("GET", path, summary, needs, Work::Read(read)) }
    }

    /// `GET` of a long list, in parts.
    pub(super) const fn list(
        path: &'static str,
        summary: &'static str,
        needs: Needs,
        read: Read,
        answer: SchemaOf,
    ) -> Self {
        Self { parameters: &PAGING, ..Self::read(path, summary, needs, read, answer) }
    }

    /// `GET` of something with a version.
    pub(super) const fn show(
        path: &'static str,
        summary: &'static str,
        needs: Needs,
        resource: &'static Resource,
        answer: SchemaOf,
    ) -> Self {
        Self { answer, ..Self::new("GET", path, summary, needs, Work::Show(resource)) }
    }

    /// `POST` that makes something.
    pub(super) const fn make(
        path: &'static str,
        summary: &'static str,
        needs: Needs,
        change: Change,
    ) -> Self {
        Self { is_new: true, ..Self::post(path, summary, needs, change) }
    }

    /// `POST`
    pub(super) const fn post(
        path: &'static str,
        summary: &'static str,
        needs: Needs,
        change: Change,
    ) -> Self {
        Self::new("POST", path, summary, needs, Work::Change(change))
    }

    /// `PUT`
    pub(super) const fn put(path: &'static str, summary: &'static str, needs: Needs, change: Change) -> Self {
        Self::new("PUT", path, summary, needs, Work::Change(change))
    }

    /// `PATCH`
    pub(super) const fn edit(
        path: &'static str,
        summary: &'static str,
        needs: Needs,
        resource: &'static Resource,
        change: Change,
    ) -> Self {
        Self::new("PATCH", path, summary, needs, Work::Edit(resource, change))
    }

    /// `DELETE` of something small.
    pub(super) const fn delete(
        path: &'static str,
        summary: &'static str,
        needs: Needs,
        change: Change,
    ) -> Self {
        Self::new("DELETE", path, summary, needs, Work::Change(change))
    }

    /// `DELETE` of something with a version and a name.
    pub(super) const fn remove(
        path: &'static str,
        summary: &'static str,
        needs: Needs,
        resource: &'static Resource,
        change: Change,
    ) -> Self {
        Self::new("DELETE", path, summary, needs, Work::Remove(resource, change))
    }

    /// With a body of this kind.
    pub(super) const fn takes(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    /// With more of the query that counts.
    pub(super) const fn asks(mut self, parameters: &'static [Parameter]) -> Self {
        self.parameters = parameters;
        self
    }

    pub(super) fn entry(&self) -> Entry {
        Entry {
            method: self.method,
            path: self.path,
            summary: self.summary,
            parameters: self.parameters,
            body: self.body.as_ref().map(|it| it.schema),
            answer: self.answer,
            needs: Some((self.scope, self.least)),
            media_type: JSON,
            takes_version: matches!(self.work, Work::Edit(..) | Work::Remove(..)),
            gives_version: matches!(self.work, Work::Edit(..) | Work::Show(_)),
        }
    }
}
