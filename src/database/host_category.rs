//! The tables `host_category`, a host's opt-in to a category, and `host_category_url`, where it carries it.

use std::collections::BTreeSet;

use diesel::prelude::*;
use serde::Serialize;

use super::{
    Connection, Time,
    error::exists,
    lease,
    schema::{category, host_category, host_category_rsync, host_category_url},
};
use crate::mirror::{
    CategoryId, CategoryName, HostCategoryId, HostCategoryUrlId, HostId, HostUrl, Reach, RsyncUrl,
};

/// An opt-in.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = host_category)]
pub struct HostCategory {
    /// Its row.
    pub id: HostCategoryId,
    /// Who.
    pub host_id: HostId,
    /// To what.
    pub category_id: CategoryId,
    /// Since when.
    pub created_at: Time,
    /// Taken out of answers for a while, as far as this category goes.
    pub drained: bool,
}

/// Where a host carries a category.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = host_category_url)]
pub struct HostCategoryUrl {
    /// Its row.
    pub id: HostCategoryUrlId,
    /// Of which opt-in.
    pub host_category_id: HostCategoryId,
    /// The category's folder. Unique: no two opt-ins share one.
    pub url: HostUrl,
    /// Does it answer by IPv4?
    pub ipv4_reach: Reach,
    /// Does it answer by IPv6?
    pub ipv6_reach: Reach,
    /// Why it does not answer.
    pub reach_reason: Option<String>,
    /// When it was last asked.
    pub probed_at: Option<Time>,
}

/// The opt-ins of a host with the categories' names, by name.
pub fn list(connection: &mut Connection, host: HostId) -> QueryResult<Vec<(HostCategory, CategoryName)>> {
    host_category::table
        .inner_join(category::table)
        .filter(host_category::host_id.eq(host))
        .select((HostCategory::as_select(), category::name))
        .order(category::name)
        .load(connection)
}

/// The opt-ins to a category.
pub fn list_of_category(connection: &mut Connection, category: CategoryId) -> QueryResult<Vec<HostCategory>> {
    host_category::table
        .select(HostCategory::as_select())
        .filter(host_category::category_id.eq(category))
        .order(host_category::id)
        .load(connection)
}

/// The URLs of an opt-in, oldest first.
pub fn list_urls(connection: &mut Connection, id: HostCategoryId) -> QueryResult<Vec<HostCategoryUrl>> {
    host_category_url::table
        .select(HostCategoryUrl::as_select())
        .filter(host_category_url::host_category_id.eq(id))
        .order(host_category_url::id)
        .load(connection)
}

/// Opts a host in under these URLs. A host that is in already gets these URLs instead of its former
/// ones; those that stay keep what is known of their reach. It is due to be crawled.
pub fn opt_in(
    connection: &mut Connection,
    host: HostId,
    category: CategoryId,
    urls: &[HostUrl],
    now: Time,
) -> QueryResult<HostCategory> {
    let found = find(connection, host, category)?;
    let row = match found {
        Some(row) => row,
        None => diesel::insert_into(host_category::table)
            .values((
                host_category::host_id.eq(host),
                host_category::category_id.eq(category),
                host_category::created_at.eq(now),
            ))
            .returning(host_category::all_columns)
            .get_result(connection)?,
    };
    let former = list_urls(connection, row.id)?;
    for gone in former.iter().filter(|it| !urls.contains(&it.url)) {
        diesel::delete(host_category_url::table.find(gone.id)).execute(connection)?;
    }
    for (at, url) in urls.iter().enumerate() {
        if !urls[..at].contains(url) && former.iter().all(|it| it.url != *url) {
            insert_url(connection, row.id, url)?;
        }
    }
    lease::make_due(connection, host, now)?;
    Ok(row)
}

/// Takes an opt-in out of answers, or brings it back.
pub fn set_drained(connection: &mut Connection, id: HostCategoryId, drained: bool) -> QueryResult<()> {
    let row = diesel::update(host_category::table.find(id));
    row.set(host_category::drained.eq(drained)).execute(connection).map(drop)
}

/// Where the crawler may list the opt-in's folder by rsync. Clients are never told.
pub fn find_rsync_url(connection: &mut Connection, id: HostCategoryId) -> QueryResult<Option<RsyncUrl>> {
    host_category_rsync::table.find(id).select(host_category_rsync::url).first(connection).optional()
}

/// Sets where the opt-in's folder may be listed by rsync, or that it may not.
pub fn set_rsync_url(
    connection: &mut Connection,
    id: HostCategoryId,
    url: Option<&RsyncUrl>,
) -> QueryResult<()> {
    diesel::delete(host_category_rsync::table.find(id)).execute(connection)?;
    let Some(url) = url else { return Ok(()) };
    diesel::insert_into(host_category_rsync::table)
        .values((host_category_rsync::host_category_id.eq(id), host_category_rsync::url.eq(url)))
        .execute(connection)?;
    Ok(())
}

/// Takes a host out of a category, with its URLs and holdings; was it in?
pub fn opt_out(connection: &mut Connection, host: HostId, category: CategoryId) -> QueryResult<bool> {
    let row = host_category::table
        .filter(host_category::host_id.eq(host))
        .filter(host_category::category_id.eq(category));
    Ok(diesel::delete(row).execute(connection)? > 0)
}

/// The opt-in of a host to a category.
pub fn find(
    connection: &mut Connection,
    host: HostId,
    category: CategoryId,
) -> QueryResult<Option<HostCategory>> {
    host_category::table
        .select(HostCategory::as_select())
        .filter(host_category::host_id.eq(host))
        .filter(host_category::category_id.eq(category))
        .first(connection)
        .optional()
}

/// Takes URLs away from an opt-in.
pub(super) fn delete_urls(
    connection: &mut Connection,
    host: HostId,
    category: CategoryId,
    urls: &BTreeSet<&HostUrl>,
) -> QueryResult<()> {
    let Some(opt_in) = find(connection, host, category)? else { return Ok(()) };
    for url in urls {
        let row = host_category_url::table
            .filter(host_category_url::host_category_id.eq(opt_in.id))
            .filter(host_category_url::url.eq(*url));
        diesel::delete(row).execute(connection)?;
    }
    Ok(())
}

fn insert_url(connection: &mut Connection, id: HostCategoryId, url: &HostUrl) -> QueryResult<usize> {
    diesel::insert_into(host_category_url::table)
        .values((host_category_url::host_category_id.eq(id), host_category_url::url.eq(url)))
        .execute(connection)
        .map_err(|error| exists(error, || format!("an opt-in with the URL {url}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Part, host, testing::*};

    fn urls(texts: &[&str]) -> Vec<HostUrl> {
        texts.iter().map(|it| it.parse().unwrap()).collect()
    }

    #[test]
    fn opting_in_again_changes_the_urls() {
        on_both(|database| {
            let (host, category) = (add_host(database, "m1"), add_category(database, "fedora", 1));
            let opt_in = |texts: &[&str]| {
                let urls = urls(texts);
                database.write(Part::Hosts, |it| opt_in(it, host.id, category, &urls, now())).unwrap()
            };
            let row = opt_in(&["https://m1/a", "http://m1/a", "http://m1/a"]);
            let first = database.read(|it| list_urls(it, row.id)).unwrap();
            assert_eq!(
                first.iter().map(|it| it.url.as_str()).collect::<Vec<_>>(),
                ["https://m1/a", "http://m1/a"]
            );
            assert_eq!(first[0].ipv4_reach, Reach::Unknown);
            assert_eq!(opt_in(&["http://m1/b", "https://m1/a"]), row);
            let second = database.read(|it| list_urls(it, row.id)).unwrap();
            assert_eq!(second[0], first[0]);
            assert_eq!(second[1].url.as_str(), "http://m1/b");
            let all = database.read(|it| list(it, host.id)).unwrap();
            assert_eq!(all, [(row.clone(), "fedora".parse().unwrap())]);
            assert_eq!(database.read(|it| list_of_category(it, category)).unwrap(), [row]);
        });
    }

    #[test]
    fn a_folder_may_be_listed_by_rsync() {
        on_both(|database| {
            let (host, category) = (add_host(database, "m1"), add_category(database, "fedora", 1));
            let row = database
                .write(Part::Hosts, |it| opt_in(it, host.id, category, &urls(&["http://m"]), now()))
                .unwrap();
            let url: RsyncUrl = "rsync://m/fedora".parse().unwrap();
            for url in [None, Some(&url), Some(&url), None] {
                database.write_log(|it| set_rsync_url(it, row.id, url)).unwrap();
                assert_eq!(database.read(|it| find_rsync_url(it, row.id)).unwrap().as_ref(), url);
            }
        });
    }

    #[test]
    fn a_url_has_one_owner() {
        on_both(|database| {
            let category = add_category(database, "fedora", 1);
            let (one, two) = (add_host(database, "m1"), add_host(database, "m2"));
            let opt_in = |host| {
                database.write(Part::Hosts, |it| opt_in(it, host, category, &urls(&["http://m"]), now()))
            };
            opt_in(one.id).unwrap();
            let error = opt_in(two.id).unwrap_err();
            assert_eq!(error.to_string(), "an opt-in with the URL http://m exists already");
            assert_eq!(database.read(|it| find(it, two.id, category)).unwrap(), None);
        });
    }

    #[test]
    fn what_belongs_to_a_host_goes_with_it() {
        on_both(|database| {
            let (one, category) = (add_host(database, "m1"), add_category(database, "fedora", 1));
            let add = |it: &mut Connection| opt_in(it, one.id, category, &urls(&["http://m"]), now());
            let row = database.write(Part::Hosts, add).unwrap();
            assert!(database.write(Part::Hosts, |it| opt_out(it, one.id, category)).unwrap());
            assert!(!database.write(Part::Hosts, |it| opt_out(it, one.id, category)).unwrap());
            assert_eq!(database.read(|it| list_urls(it, row.id)).unwrap(), []);
            let row = database.write(Part::Hosts, add).unwrap();
            database.write(Part::Hosts, |it| host::delete(it, one.id)).unwrap();
            assert_eq!(database.read(|it| list_urls(it, row.id)).unwrap(), []);
        });
    }
}
