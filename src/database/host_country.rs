//! The tables `host_country_allowed` and `host_country_denied`: which countries a host serves.

macro_rules! countries {
    ($module:ident, $table:ident, $what:literal) => {
        #[doc = $what]
        pub mod $module {
            use diesel::prelude::*;

            use crate::database::schema::$table; // on its own: tests/layers.rs reads no list with a `$` in it
            use crate::{
                database::Connection,
                mirror::{Country, HostId},
            };

            /// The countries of a host, sorted.
            pub fn list(connection: &mut Connection, host: HostId) -> QueryResult<Vec<Country>> {
                $table::table
                    .select($table::country)
                    .filter($table::host_id.eq(host))
                    .order($table::country)
                    .load(connection)
            }

            /// Sets the countries of a host.
            pub fn replace(
                connection: &mut Connection,
                host: HostId,
                countries: &[Country],
            ) -> QueryResult<()> {
                diesel::delete($table::table.filter($table::host_id.eq(host))).execute(connection)?;
                let mut countries = countries.to_vec();
                countries.sort_unstable();
                countries.dedup();
                for country in countries {
                    diesel::insert_into($table::table)
                        .values(($table::host_id.eq(host), $table::country.eq(country)))
                        .execute(connection)?;
                }
                Ok(())
            }
        }
    };
}
countries!(allowed, host_country_allowed, "The only countries that a host serves; none: it serves all.");
countries!(denied, host_country_denied, "Countries that a host does not serve.");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        database::{Part, testing::*},
        mirror::Country,
    };

    #[test]
    fn countries_are_set_as_a_whole_and_apart() {
        on_both(|database| {
            let host = add_host(database, "m1").id;
            let [de, fr]: [Country; 2] = ["DE", "FR"].map(|it| it.parse().unwrap());
            for countries in [vec![de], vec![fr, de, de], vec![]] {
                database.write(Part::Hosts, |it| allowed::replace(it, host, &countries)).unwrap();
                database.write(Part::Hosts, |it| denied::replace(it, host, &[fr])).unwrap();
                let mut expected = countries;
                expected.sort_unstable();
                expected.dedup();
                assert_eq!(database.read(|it| allowed::list(it, host)).unwrap(), expected);
                assert_eq!(database.read(|it| denied::list(it, host)).unwrap(), [fr]);
            }
        });
    }
}
