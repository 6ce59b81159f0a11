//! The load: `wrk` on one thread with many connections.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::server::Server;

/// Kept connections.
const CONNECTIONS: &str = "32";

/// How long one turn lasts.
const TURN: &str = "3s";

/// Draws a path and a client for every request, always in the same order.
const SCRIPT: &str = "
local headers = {}
if closing then headers['Connection'] = 'close' end
request = function()
    if #clients > 0 then headers['X-Forwarded-For'] = clients[math.random(#clients)] end
    return wrk.format('GET', paths[math.random(#paths)], headers)
end
done = function(summary)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format('requests %d failed %d\\n', summary.requests, failed))
end
";

/// What is asked: any of the paths by any of the clients.
#[derive(Clone)]
pub(crate) struct Requests {
    script: PathBuf,
}

impl Requests {
    /// Writes it for `wrk`. Without clients everything comes from the machine itself.
    pub(crate) fn write(folder: &Path, paths: &[String], clients: &[String]) -> Self {
        Self::write_with(folder, paths, clients, "")
    }

    /// The same with a new connection for every request.
    pub(crate) fn write_closing(folder: &Path, paths: &[String], clients: &[String]) -> Self {
        Self::write_with(folder, paths, clients, "closing = true\n")
    }

    fn write_with(folder: &Path, paths: &[String], clients: &[String], more: &str) -> Self {
        let list = |name: &str, list: &[String]| format!("{name} = {{{}}}\n", quoted(list).join(","));
        let text = list("paths", paths) + &list("clients", clients) + more + SCRIPT;
        let file = tempfile::Builder::new().suffix(".lua").tempfile_in(folder).expect("a temporary file");
        let script = file.into_temp_path().keep().expect("the script stays");
        fs::write(&script, text).expect("the script of wrk");
        Self { script }
    }

    /// One turn on a server: its processor time for one request.
    pub(crate) fn run(&self, server: &Server) -> Duration {
        let before = server.used();
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", "-c", CONNECTIONS, "-d", TURN, "-s"]).arg(&self.script).arg(&server.url);
        let output = wrk.output().expect("wrk runs (bench/setup.sh installs it)");
        let used = server.used() - before;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find_map(|it| it.strip_prefix("requests "));
        let (requests, failed) =
            line.and_then(|it| it.split_once(" failed ")).unwrap_or_else(|| panic!("wrk: {text}"));
        assert_eq!(failed, "0", "requests to {} failed: {text}", server.url);
        used / requests.parse::<u32>().expect("a number of requests")
    }
}

fn quoted(list: &[String]) -> Vec<String> {
    list.iter().map(|it| format!("'{it}'")).collect()
}
