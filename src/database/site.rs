//! The table `site`: organisations that run hosts.

use diesel::prelude::*;
use serde::Serialize;

use super::{Connection, Time, error::exists, schema::site};
use crate::mirror::{SiteId, SiteName};

/// A site.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = site)]
pub struct Site {
    /// Its row.
    pub id: SiteId,
    /// Unique.
    pub name: SiteName,
    /// The organisation's page.
    pub org_url: Option<String>,
    /// Its hosts are shown to nobody outside their netblocks and autonomous systems.
    pub private: bool,
    /// Its admins have not switched it off.
    pub user_active: bool,
    /// The operators have not switched it off.
    pub admin_active: bool,
    /// When it was added.
    pub created_at: Time,
}

/// A site to insert, switched on.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = site)]
pub struct NewSite {
    /// Unique.
    pub name: SiteName,
    /// The organisation's page.
    pub org_url: Option<String>,
    /// See [`Site::private`].
    pub private: bool,
    /// Now.
    pub created_at: Time,
}

/// What to change of a site; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, AsChangeset)]
#[diesel(table_name = site)]
#[expect(missing_docs, reason = "the fields are those of `Site`")]
pub struct SiteChange {
    pub name: Option<SiteName>,
    pub org_url: Option<Option<String>>,
    pub private: Option<bool>,
    pub user_active: Option<bool>,
    pub admin_active: Option<bool>,
}

/// All sites, by name.
pub fn list(connection: &mut Connection) -> QueryResult<Vec<Site>> {
    site::table.select(Site::as_select()).order(site::name).load(connection)
}

/// The site of this name.
pub fn find(connection: &mut Connection, name: &SiteName) -> QueryResult<Option<Site>> {
    site::table.select(Site::as_select()).filter(site::name.eq(name)).first(connection).optional()
}

/// The site of this id.
pub fn find_by_id(connection: &mut Connection, id: SiteId) -> QueryResult<Option<Site>> {
    site::table.find(id).select(Site::as_select()).first(connection).optional()
}

/// Adds a site.
pub fn insert(connection: &mut Connection, new: &NewSite) -> QueryResult<Site> {
    diesel::insert_into(site::table)
        .values(new)
        .returning(site::all_columns)
        .get_result(connection)
        .map_err(|error| exists(error, || format!("a site named {}", new.name)))
}

/// Changes a site; how many there were of this id.
pub fn update(connection: &mut Connection, id: SiteId, change: &SiteChange) -> QueryResult<usize> {
    let outcome = diesel::update(site::table.find(id)).set(change).execute(connection);
    let changed = outcome.optional_empty_changeset();
    Ok(changed.map_err(|error| exists(error, || "a site of that name".to_owned()))?.unwrap_or(1))
}

/// Removes a site with its hosts; how many there were of this id.
pub fn delete(connection: &mut Connection, id: SiteId) -> QueryResult<usize> {
    diesel::delete(site::table.find(id)).execute(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Error, Part, testing::*};

    #[test]
    fn a_site_is_added_changed_and_removed() {
        on_both(|database| {
            let site = database.write(Part::Hosts, |it| insert(it, &new_site("Universität X"))).unwrap();
            assert_eq!(site.created_at, now());
            assert_eq!(database.read(list).unwrap(), std::slice::from_ref(&site));
            let change = SiteChange {
                org_url: Some(Some("https://x".into())),
                admin_active: Some(false),
                ..SiteChange::default()
            };
            database.write(Part::Hosts, |it| update(it, site.id, &change)).unwrap();
            let found = database.read(|it| find(it, &site.name)).unwrap().unwrap();
            assert_eq!(
                found,
                Site { org_url: Some("https://x".into()), admin_active: false, ..site.clone() }
            );
            database.write(Part::Hosts, |it| update(it, site.id, &SiteChange::default())).unwrap();
            assert_eq!(database.write(Part::Hosts, |it| delete(it, site.id)).unwrap(), 1);
            assert_eq!(database.read(|it| find(it, &site.name)).unwrap(), None);
        });
    }

    #[test]
    fn a_name_is_given_once() {
        on_both(|database| {
            let add = |name| database.write(Part::Hosts, |it| insert(it, &new_site(name)));
            let other = add("a").and(add("b")).unwrap();
            let error = add("a").unwrap_err();
            assert!(matches!(error, Error::Exists(_)));
            assert_eq!(error.to_string(), "a site named a exists already");
            let change = SiteChange { name: Some("a".parse().unwrap()), ..SiteChange::default() };
            let error = database.write(Part::Hosts, |it| update(it, other.id, &change)).unwrap_err();
            assert_eq!(error.to_string(), "a site of that name exists already");
        });
    }
}
