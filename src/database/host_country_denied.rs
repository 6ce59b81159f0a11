//! The table `host_country_denied`: countries that a host does not serve.

use diesel::prelude::*;

use super::{Connection, schema::host_country_denied};
use crate::mirror::{Country, HostId};

/// The countries of a host, sorted.
pub fn list(connection: &mut Connection, host: HostId) -> QueryResult<Vec<Country>> {
    host_country_denied::table
        .select(host_country_denied::country)
        .filter(host_country_denied::host_id.eq(host))
        .order(host_country_denied::country)
        .load(connection)
}

/// Sets the countries of a host.
pub fn replace(connection: &mut Connection, host: HostId, countries: &[Country]) -> QueryResult<()> {
    let former = host_country_denied::table.filter(host_country_denied::host_id.eq(host));
    diesel::delete(former).execute(connection)?;
    let mut countries = countries.to_vec();
    countries.sort_unstable();
    countries.dedup();
    for country in countries {
        diesel::insert_into(host_country_denied::table)
            .values((host_country_denied::host_id.eq(host), host_country_denied::country.eq(country)))
            .execute(connection)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Part, testing::*};

    #[test]
    fn countries_are_set_as_a_whole() {
        on_both(|database| {
            let host = add_host(database, "m1").id;
            let [de, fr]: [Country; 2] = ["DE", "FR"].map(|it| it.parse().unwrap());
            for countries in [vec![de], vec![fr, de, de], vec![]] {
                database.write(Part::Hosts, |it| replace(it, host, &countries)).unwrap();
                let mut expected = countries;
                expected.sort_unstable();
                expected.dedup();
                assert_eq!(database.read(|it| list(it, host)).unwrap(), expected);
            }
        });
    }
}
