//! `portolan country`: where countries and networks count to.

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;

use super::{
    argument,
    table::{self, Answer},
};
use crate::{
    database::{Database, Part, country},
    mirror::{Continent, Country, Netblock},
};

/// Why a row is not taken away.
const IMPORTED: &str = "comes from MirrorManager, and would come back with the next import: change it there, or set what \
                        goes before it by";

#[derive(Subcommand)]
pub(super) enum Command {
    /// List what differs from the map and from GeoIP
    List,
    /// Let a country count to another continent than the map's
    Redirect {
        /// Two letters of ISO 3166-1
        #[arg(value_parser = argument::country)]
        country: Country,
        /// AF, AN, AS, EU, NA, OC or SA
        continent: Continent,
    },
    /// Let a country count to the continent it lies in again
    Unredirect {
        /// Two letters of ISO 3166-1
        country: Country,
    },
    /// Say in which country a network is, where GeoIP is wrong
    Assign {
        /// The network
        netblock: Netblock,
        /// Two letters of ISO 3166-1
        #[arg(value_parser = argument::country)]
        country: Country,
    },
    /// Leave a network's country to GeoIP again
    Unassign {
        /// The network
        netblock: Netblock,
    },
}

pub(super) fn answer(command: Command, database: &Database) -> anyhow::Result<Answer> {
    let message = match command {
        Command::List => return list(database),
        Command::Redirect { country, continent } => {
            database.write(Part::Hosts, |it| country::set_continent_redirect(it, country, continent))?;
            format!("{country} counts to {continent} now")
        }
        Command::Unredirect { country } => {
            let imported = database.read(|it| country::list_continent_redirects_by(it, true))?;
            if imported.iter().any(|it| it.0 == country) {
                bail!("{country} {IMPORTED} `portolan country redirect`");
            }
            if database.write(Part::Hosts, |it| country::delete_continent_redirect(it, country))? == 0 {
                bail!("{country} is not redirected; `portolan country list` shows all");
            }
            format!("{country} counts to the continent it lies in now")
        }
        Command::Assign { netblock, country } => {
            database.write(Part::Hosts, |it| country::set_netblock_country(it, &netblock, country))?;
            format!("{netblock} counts to {country} now")
        }
        Command::Unassign { netblock } => {
            let imported = database.read(|it| country::list_netblock_countries_by(it, true))?;
            if imported.iter().any(|it| it.0 == netblock) {
                bail!("{netblock} {IMPORTED} `portolan country assign`");
            }
            if database.write(Part::Hosts, |it| country::delete_netblock_country(it, &netblock))? == 0 {
                bail!("{netblock} is assigned to no country; `portolan country list` shows all");
            }
            format!("{netblock} counts to the country that GeoIP finds now")
        }
    };
    Ok(Answer::message(&message)?)
}

fn list(database: &Database) -> anyhow::Result<Answer> {
    let (redirects, netblocks) = database
        .read(|it| Ok((country::list_continent_redirects(it)?, country::list_netblock_countries(it)?)))?;
    let redirect = |(country, continent): &_| json!({ "country": country, "continent": continent });
    let assigned = |(netblock, country): &_| json!({ "netblock": netblock, "country": country });
    let value = json!({
        "continent_redirects": redirects.iter().map(redirect).collect::<Vec<_>>(),
        "netblock_countries": netblocks.iter().map(assigned).collect::<Vec<_>>(),
    });
    let mut rows = table::list(&["COUNTRY OR NETWORK", "COUNTS TO"]);
    for (country, continent) in &redirects {
        rows.add_row([table::cell(country), table::cell(continent)]);
    }
    for (netblock, country) in &netblocks {
        rows.add_row([table::cell(netblock), table::cell(country)]);
    }
    Ok(Answer::new(&value)?.list(rows, "nothing differs from the map and from GeoIP"))
}
