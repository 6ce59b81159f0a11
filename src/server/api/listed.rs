use schemars::JsonSchema;
use serde::Serialize;

use super::Problem;
use actix_web::http::StatusCode;

/// The most items of one answer.
pub(super) const MOST: usize = 500;

/// So many unless others are asked for.
pub(super) const USUAL: usize = 100;

/// What of a long list is asked for: `?limit=…&after=…`.
pub(in crate::server) struct Paging<'a> {
    path: &'a str,
    query: &'a [(String, String)],
    limit: usize,
    after: Option<&'a str>,
}

/// A part of a long list.
#[derive(Serialize, JsonSchema)]
pub(in crate::server) struct Listed<T> {
    /// In order.
    pub(in crate::server) items: Vec<T>,
    /// Where the next ones are; null after the last.
    pub(in crate::server) next: Option<String>,
}

impl<T, E> Listed<Result<T, E>> {
    /// All items, or the first fault.
    pub(in crate::server) fn all(self) -> Result<Listed<T>, E> {
        Ok(Listed { items: self.items.into_iter().collect::<Result<_, _>>()?, next: self.next })
    }
}

impl<'a> Paging<'a> {
    pub(in crate::server) fn new(path: &'a str, query: &'a [(String, String)]) -> Result<Self, Problem> {
        let of =
            |name: &str| query.iter().find(|it| it.0 == name).map(|it| &*it.1).filter(|it| !it.is_empty());
        let limit = match of("limit").map(str::parse) {
            None => USUAL,
            Some(Ok(limit)) if (1..=MOST).contains(&limit) => limit,
            Some(_) => {
                return Err(Problem::new(
                    StatusCode::BAD_REQUEST,
                    format!("The limit is a number from 1 to {MOST}."),
                ));
            }
        };
        Ok(Self { path, query, limit, after: of("after") })
    }

    /// The part that is asked for. Keys are unique; they say where a part ends, so that what is added or removed meanwhile
    /// moves nothing.
    pub(in crate::server) fn cut<T, U>(
        &self,
        mut all: Vec<T>,
        key: impl Fn(&T) -> &str,
        mut view: impl FnMut(T) -> U,
    ) -> Listed<U> {
        all.sort_by(|one, other| key(one).cmp(key(other)));
        let mut rest = all.into_iter().filter(|it| self.after.is_none_or(|after| key(it) > after)).peekable();
        let (mut items, mut last) = (Vec::new(), String::new());
        for item in rest.by_ref().take(self.limit) {
            last = key(&item).to_owned();
            items.push(view(item));
        }
        Listed { items, next: rest.peek().map(|_| self.link(&last)) }
    }

    /// Where the list begins, if this is no beginning.
    pub(in crate::server) fn first(&self) -> Option<String> {
        let others = || self.query.iter().filter(|it| !["after", "done"].contains(&&*it.0));
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let mark = if others().next().is_some() { "?" } else { "" };
        self.after.map(|_| format!("{}{mark}{}", self.path, query.extend_pairs(others()).finish()))
    }

    /// How many are asked for.
    pub(in crate::server) fn limit(&self) -> usize {
        self.limit
    }

    /// The number behind which to go on.
    pub(in crate::server) fn after_number(&self) -> Option<i64> {
        self.after.map(|it| it.parse().unwrap_or(0))
    }

    /// Where the list goes on after this key.
    pub(in crate::server) fn link(&self, last: &str) -> String {
        let others = self.query.iter().filter(|it| it.0 != "after" && it.0 != "done");
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(others).append_pair("after", last);
        format!("{}?{}", self.path, query.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(query: &[(&str, &str)], all: &[&str]) -> (Vec<String>, Option<String>) {
        let query: Vec<_> = query.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
        let listed = Paging::new("/x", &query).unwrap().cut(all.to_vec(), |it| it, str::to_owned);
        (listed.items, listed.next)
    }

    #[test]
    fn a_list_is_cut_at_its_keys() {
        let all = ["c", "a", "d", "b & b"];
        let (items, next) = cut(&[("limit", "2"), ("q", "ä")], &all);
        assert_eq!(
            (items, next.unwrap()),
            (vec!["a".into(), "b & b".into()], "/x?limit=2&q=%C3%A4&after=b+%26+b".into())
        );
        assert_eq!(cut(&[("limit", "2"), ("after", "b & b")], &all), (vec!["c".into(), "d".into()], None));
        let first = |query: &[(&str, &str)]| {
            let query: Vec<_> = query.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
            Paging::new("/x", &query).unwrap().first()
        };
        assert_eq!(first(&[("after", "b"), ("q", "ä")]), Some("/x?q=%C3%A4".into()));
        assert_eq!((first(&[("after", "b")]), first(&[("q", "b")])), (Some("/x".into()), None));
        assert_eq!(cut(&[("after", "bb")], &all).0, ["c", "d"], "also after what is gone");
        assert_eq!(cut(&[], &all).0.len(), 4);
        for limit in ["0", "501", "-1", "x"] {
            assert!(Paging::new("/x", &[("limit".to_owned(), limit.to_owned())]).is_err(), "{limit}");
        }
    }
}
