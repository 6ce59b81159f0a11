//! The same faults with `portolan agent` between: every client pulls at once, whatever the near mirror does.

use std::path::PathBuf;
use std::time::Instant;

use super::clients::Clients;
use super::faults::FAULTS;
use super::table::Table;
use super::{MODERN, Matrix, TAGS, pull, reference};
use crate::rig::agent::Agent;
use crate::rig::namespace::{self, CLIENT_DE, Namespace, REGISTRY};
use crate::rig::root::Root;

#[test]
fn with_debian_12() {
    namespace::enter(|namespace| {
        let agent = Agent::start(namespace);
        let clients = Clients::debian_12_behind(namespace, &agent);
        tell(namespace, &agent, &clients, "fault-matrix-agent.md");
    });
}

#[test]
#[ignore = "needs the Debian that `make test-clients` fetches"]
fn with_modern_clients() {
    let folder = PathBuf::from(std::env::var_os(MODERN).expect(MODERN));
    namespace::enter(move |namespace| {
        let agent = Agent::start(namespace);
        let clients = Clients::modern_behind(namespace, Root::over(namespace, &folder), &agent);
        tell(namespace, &agent, &clients, "fault-matrix-agent-modern.md");
    });
}

fn tell(namespace: &Namespace, agent: &Agent, clients: &Clients, file: &str) {
    let matrix = Matrix::new(namespace, clients);
    let serve = matrix.portolan.serve();
    namespace::connect_from(CLIENT_DE, REGISTRY);
    matrix.check_near();
    let mut good = String::new();
    for client in clients.list() {
        let begun = Instant::now();
        let reference = reference(&FAULTS[0], client, TAGS[1]);
        assert!(pull(client, &reference).success(), "{} does not pull from a good mirror", client.name);
        good.push_str(&format!("{} {:.1} s, ", client.name, begun.elapsed().as_secs_f64()));
    }
    matrix.fail(namespace);
    let table = matrix.pull_early();
    let text = format!("{}\nWithout a fault: {}.\n", table.render_times(), good.trim_end_matches(", "));
    println!("{text}");
    Table::write(file, &text);
    table.check_all_good();
    println!("{} bytes from the registry itself", agent.metric("registry_bytes_total"));
    serve.stop();
}
