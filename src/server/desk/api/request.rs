use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data, Payload},
};
use serde_json::{Map, Value};

use super::{
    super::{Access, Desk, Named, Next, Office, access, form::Form, visitor::Visitor},
    answer::{Answer, version},
    body,
    operation::{Operation, Resource, Work},
};
use crate::{
    database::{
        Connection, Part, Time,
        account_token::{self, Bearer},
        secret,
    },
    server::{
        access::Decision,
        api::Problem,
        bearer,
        pages::PageError,
        state::{Current, State, decided},
    },
};

/// Characters of a token: what is longer is none.
const LONGEST_TOKEN: usize = 100;

/// Finds out who asks and what about, and does it if they may.
pub(super) async fn answer(
    operation: &'static Operation,
    request: HttpRequest,
    payload: Payload,
    state: Data<State>,
    office: Data<Office>,
) -> Result<HttpResponse, Problem> {
    decided(&request, Decision::Api);
    let visitor = Visitor::new(&request, &state)?;
    let token = bearer::token(&request).filter(|it| (1..=LONGEST_TOKEN).contains(&it.len()));
    let token = token.ok_or_else(Problem::unauthorized)?.to_owned();
    let sent = body::read(operation.body.as_ref(), &request, payload).await;
    let is_change = !matches!(operation.work, Work::Read(_) | Work::Show(_));
    if is_change && !office.throttle.admits_change(&visitor.network) {
        return Err(PageError::TooMany.into());
    }
    let _turn = office.turn().await?;
    let wanted = request.headers().get("if-match").and_then(|it| it.to_str().ok()).map(str::to_owned);
    let work = {
        let (office, current, named) = (office.clone(), state.current(), Named::new(&request));
        let form = sent.as_ref().map(body::form).unwrap_or_default();
        move || Request { operation, visitor, token, sent, form, named, current, wanted }.answer(&office)
    };
    let done = web::block(work).await;
    let answer = done.map_err(|error| Problem::from(PageError::Internal(error.to_string())))??;
    Ok(answer.respond())
}

/// A request that is worked on, away from the threads that answer.
struct Request {
    operation: &'static Operation,
    visitor: Visitor,
    token: String,
    /// What was sent; that it is unfit is told to those who may send something.
    sent: Result<Map<String, Value>, Problem>,
    form: Form,
    named: Named,
    current: Arc<Current>,
    /// The version that is to be changed.
    wanted: Option<String>,
}

impl Request {
    fn answer(&self, office: &Office) -> Result<Answer, Problem> {
        let database = &*office.database;
        let new_password = office.prove_password(&self.form, &self.visitor.network, |it| {
            Ok(account_token::find_bearer(it, secret::hash(&self.token), now())?.map(|it| it.account))
        })?;
        let (token, answer) = match self.operation.work {
            Work::Read(read) => database.attempt_read(|it| {
                let (token, mut desk) = self.enter(office, it)?;
                Ok::<_, Problem>((token, Answer::Shown(read(&mut desk)?, None)))
            }),
            Work::Show(resource) => database.attempt_read(|it| {
                let (token, mut desk) = self.enter(office, it)?;
                let (value, _, version) = resource.load(&mut desk)?;
                Ok((token, Answer::Shown(value, Some(version))))
            }),
            Work::Change(change) | Work::Edit(_, change) | Work::Remove(_, change) => {
                database.attempt(&[Part::Hosts], |it| {
                    let (token, desk) = self.enter(office, it)?;
                    let next = self.change(Desk { new_password, ..desk }, change)?;
                    let version = self.find_version(office, it)?;
                    Ok((token, Answer::of_change(next, self.operation.is_new, version)))
                })
            }
        }?;
        let noted =
            database.write_log(|it| account_token::note_use(it, token, now(), super::super::NOTED_EVERY));
        if let Err(error) = noted {
            tracing::warn!(%error, "that a token is in use could not be noted");
        }
        Ok(answer)
    }

    /// Who asks, and may they?
    fn enter<'a>(
        &'a self,
        office: &'a Office,
        connection: &'a mut Connection,
    ) -> Result<(i64, Desk<'a>), Problem> {
        let now = now();
        let hash = secret::hash(&self.token);
        let bearer = account_token::find_bearer(connection, hash, now)?.ok_or_else(Problem::unauthorized)?;
        self.check(&bearer)?;
        let (site, host) = access::find(connection, &bearer.account, self.named.site, self.named.host)?;
        if let Err(unfit) = &self.sent {
            return Err(unfit.clone());
        }
        let desk = Desk {
            connection,
            account: bearer.account,
            scopes: Some(bearer.scopes),
            site,
            host,
            item: self.named.item.clone(),
            form: &self.form,
            visitor: &self.visitor,
            current: &self.current,
            office,
            refused: false,
            new_password: None,
            now,
        };
        Ok((bearer.token, desk))
    }

    fn check(&self, bearer: &Bearer) -> Result<(), Problem> {
        let Operation { least, scope, access, .. } = self.operation;
        let forbidden = |why: String| Err(Problem::new(StatusCode::FORBIDDEN, why));
        if bearer.account.role < *least {
            return forbidden(format!("This needs an account that is at least {least}."));
        }
        if !bearer.scopes.has(*scope) {
            return forbidden(format!("The token lacks the scope {scope}."));
        }
        match bearer.host {
            Some(host) if *access != Access::Host || self.named.host != Some(host.0) => {
                forbidden("The token is good for one host only.".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn change(&self, mut desk: Desk<'_>, change: super::super::Change) -> Result<Next, Problem> {
        let form = match self.operation.work {
            Work::Edit(resource, _) => {
                let (value, fields, version) = resource.load(&mut desk)?;
                self.check_version(&version)?;
                let mut whole: Map<String, Value> =
                    fields.iter().filter_map(|it| Some(((*it).to_owned(), value.get(it)?.clone()))).collect();
                whole.extend(self.sent.clone()?);
                body::form(&whole)
            }
            Work::Remove(resource, _) => {
                let (value, _, version) = resource.load(&mut desk)?;
                self.check_version(&version)?;
                let name = value.get("name").cloned().unwrap_or_default();
                body::form(&Map::from_iter([("name".to_owned(), name)]))
            }
            _ => return Ok(change(&mut desk)?),
        };
        Ok(change(&mut Desk { form: &form, ..desk })?)
    }

    /// The version that an edit has made, so that who edits on need not read in between.
    fn find_version(&self, office: &Office, connection: &mut Connection) -> Result<Option<String>, Problem> {
        let Work::Edit(resource, _) = self.operation.work else { return Ok(None) };
        let (_, mut desk) = self.enter(office, connection)?;
        Ok(Some(resource.load(&mut desk)?.2))
    }

    /// Somebody else may have changed it since.
    fn check_version(&self, version: &str) -> Result<(), Problem> {
        let is_it = |wanted: &String| wanted.split(',').any(|it| it.trim() == version || it.trim() == "*");
        if self.wanted.as_ref().is_none_or(is_it) {
            return Ok(());
        }
        let why = "It was changed since you read it: read it again, and send the change once more.";
        Err(Problem::new(StatusCode::PRECONDITION_FAILED, why))
    }
}

impl Resource {
    /// What it is, what of it can be changed, and its version.
    fn load(&self, desk: &mut Desk<'_>) -> Result<(Value, Vec<&'static str>, String), Problem> {
        let (value, fields) = ((self.read)(desk)?, (self.fields)(desk)?);
        let version = version(&value, &fields);
        Ok((value, fields, version))
    }
}

fn now() -> Time {
    jiff::Timestamp::now().into()
}
