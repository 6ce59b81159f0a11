//! The tables `country_continent_redirect`, `netblock_country` and `embargoed_country`: where countries and networks count
//! to, and with which we have nothing to do.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;

use super::{
    Connection,
    connection::on_each,
    schema::{country_continent_redirect, embargoed_country, netblock_country},
};
use crate::mirror::{Continent, Country, Netblock};

/// Countries that count to another continent than the map's, sorted.
pub fn list_continent_redirects(connection: &mut Connection) -> QueryResult<Vec<(Country, Continent)>> {
    country_continent_redirect::table
        .select((country_continent_redirect::country, country_continent_redirect::continent))
        .order(country_continent_redirect::country)
        .load(connection)
}

/// Those that an import keeps, or those that people set.
pub fn list_continent_redirects_by(
    connection: &mut Connection,
    import: bool,
) -> QueryResult<Vec<(Country, Continent)>> {
    country_continent_redirect::table
        .filter(country_continent_redirect::imported.eq(import))
        .select((country_continent_redirect::country, country_continent_redirect::continent))
        .load(connection)
}

/// Lets a country count to a continent. What an import keeps of it is ours from then on.
pub fn set_continent_redirect(
    connection: &mut Connection,
    country: Country,
    continent: Continent,
) -> QueryResult<()> {
    let row = (
        country_continent_redirect::country.eq(country),
        country_continent_redirect::continent.eq(continent),
    );
    on_each!(connection, |it| {
        diesel::insert_into(country_continent_redirect::table)
            .values(row)
            .on_conflict(country_continent_redirect::country)
            .do_update()
            .set((
                country_continent_redirect::continent.eq(continent),
                country_continent_redirect::imported.eq(false),
            ))
            .execute(it)
    })?;
    Ok(())
}

/// Lets a country count to the continent it lies in; how many redirects it had.
pub fn delete_continent_redirect(connection: &mut Connection, country: Country) -> QueryResult<usize> {
    diesel::delete(country_continent_redirect::table.find(country)).execute(connection)
}

/// Networks whose country we know better than GeoIP.
pub fn list_netblock_countries(connection: &mut Connection) -> QueryResult<Vec<(Netblock, Country)>> {
    netblock_country::table
        .select((netblock_country::netblock, netblock_country::country))
        .order(netblock_country::netblock)
        .load(connection)
}

/// Those that an import keeps, or those that people set.
pub fn list_netblock_countries_by(
    connection: &mut Connection,
    import: bool,
) -> QueryResult<Vec<(Netblock, Country)>> {
    netblock_country::table
        .filter(netblock_country::imported.eq(import))
        .select((netblock_country::netblock, netblock_country::country))
        .load(connection)
}

/// Says in which country a network is. What an import keeps of it is ours from then on.
pub fn set_netblock_country(
    connection: &mut Connection,
    netblock: &Netblock,
    country: Country,
) -> QueryResult<()> {
    let row = (netblock_country::netblock.eq(netblock), netblock_country::country.eq(country));
    on_each!(connection, |it| {
        diesel::insert_into(netblock_country::table)
            .values(row)
            .on_conflict(netblock_country::netblock)
            .do_update()
            .set((netblock_country::country.eq(country), netblock_country::imported.eq(false)))
            .execute(it)
    })?;
    Ok(())
}

/// Leaves a network's country to GeoIP again; how many rows it had.
pub fn delete_netblock_country(connection: &mut Connection, netblock: &Netblock) -> QueryResult<usize> {
    diesel::delete(netblock_country::table.find(netblock)).execute(connection)
}

/// Countries under embargo beside those of the configuration, sorted.
pub fn list_embargoed(connection: &mut Connection) -> QueryResult<Vec<Country>> {
    embargoed_country::table
        .select(embargoed_country::country)
        .order(embargoed_country::country)
        .load(connection)
}

/// Replaces the countries under embargo.
pub(super) fn replace_embargoed(
    connection: &mut Connection,
    countries: &BTreeSet<Country>,
) -> QueryResult<()> {
    diesel::delete(embargoed_country::table).execute(connection)?;
    for country in countries {
        let row = embargoed_country::country.eq(country);
        diesel::insert_into(embargoed_country::table).values(row).execute(connection)?;
    }
    Ok(())
}

/// Replaces the redirects of the import.
pub(super) fn replace_imported_redirects(
    connection: &mut Connection,
    redirects: &BTreeMap<Country, Continent>,
) -> QueryResult<()> {
    let former = country_continent_redirect::table.filter(country_continent_redirect::imported);
    diesel::delete(former).execute(connection)?;
    for (country, continent) in redirects {
        diesel::insert_into(country_continent_redirect::table)
            .values((
                country_continent_redirect::country.eq(country),
                country_continent_redirect::continent.eq(continent),
                country_continent_redirect::imported.eq(true),
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// Replaces the networks of the import.
pub(super) fn replace_imported_netblocks(
    connection: &mut Connection,
    countries: &BTreeMap<Netblock, Country>,
) -> QueryResult<()> {
    diesel::delete(netblock_country::table.filter(netblock_country::imported)).execute(connection)?;
    for (netblock, country) in countries {
        diesel::insert_into(netblock_country::table)
            .values((
                netblock_country::netblock.eq(netblock),
                netblock_country::country.eq(country),
                netblock_country::imported.eq(true),
            ))
            .execute(connection)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Part, testing::*};

    #[test]
    fn a_country_is_redirected_and_back() {
        on_both(|database| {
            let country: Country = "TR".parse().unwrap();
            for continent in ["AS", "EU"] {
                let continent = continent.parse().unwrap();
                database.write(Part::Hosts, |it| set_continent_redirect(it, country, continent)).unwrap();
                assert_eq!(database.read(list_continent_redirects).unwrap(), [(country, continent)]);
            }
            assert_eq!(database.write(Part::Hosts, |it| delete_continent_redirect(it, country)).unwrap(), 1);
        });
    }

    #[test]
    fn a_network_has_one_country() {
        on_both(|database| {
            let netblock: Netblock = "2001:db8::/32".parse().unwrap();
            for country in ["DE", "FR"] {
                let country = country.parse().unwrap();
                database.write(Part::Hosts, |it| set_netblock_country(it, &netblock, country)).unwrap();
                assert_eq!(database.read(list_netblock_countries).unwrap(), [(netblock, country)]);
            }
            assert_eq!(database.write(Part::Hosts, |it| delete_netblock_country(it, &netblock)).unwrap(), 1);
        });
    }
}
