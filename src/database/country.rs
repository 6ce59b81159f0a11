//! The tables `country_continent_redirect` and `netblock_country`: where countries and networks count to.

use diesel::prelude::*;

use super::{
    Connection,
    connection::on_each,
    schema::{country_continent_redirect, netblock_country},
};
use crate::mirror::{Continent, Country, Netblock};

/// Countries that count to another continent than the map's, sorted.
pub fn list_continent_redirects(connection: &mut Connection) -> QueryResult<Vec<(Country, Continent)>> {
    country_continent_redirect::table.order(country_continent_redirect::country).load(connection)
}

/// Lets a country count to a continent.
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
            .set(country_continent_redirect::continent.eq(continent))
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
    netblock_country::table.order(netblock_country::netblock).load(connection)
}

/// Says in which country a network is.
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
            .set(netblock_country::country.eq(country))
            .execute(it)
    })?;
    Ok(())
}

/// Leaves a network's country to GeoIP again; how many rows it had.
pub fn delete_netblock_country(connection: &mut Connection, netblock: &Netblock) -> QueryResult<usize> {
    diesel::delete(netblock_country::table.find(netblock)).execute(connection)
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
                assert_eq!(database.read(list_netblock_countries).unwrap(), [(netblock.clone(), country)]);
            }
            assert_eq!(database.write(Part::Hosts, |it| delete_netblock_country(it, &netblock)).unwrap(), 1);
        });
    }
}
