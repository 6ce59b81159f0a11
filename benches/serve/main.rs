//! `make bench`: what an answer of `portolan serve` costs, as a ratio to a server that does nothing but answer.
//!
//! Both run under `wrk` in turns, round after round, so that whatever else the machine does meets both. Measured
//! is the server's own time on the processor (user and system, from /proc), not how long anybody waited.

mod case;
mod floor;
mod load;
mod server;
mod world;

use std::{env, fs, path::Path};

use case::Result;

/// Rounds of every case; the median of them counts.
const ROUNDS: usize = 5;

fn main() {
    let mut arguments = env::args().skip(1).filter(|it| it != "--bench");
    match arguments.next().as_deref() {
        // The bench starts itself as the floor, so that both are processes of their own.
        Some("floor") => floor::run(arguments.next().as_deref().map(Path::new)),
        Some("worlds") => case::make_worlds(Path::new(&arguments.next().expect("worlds FOLDER"))),
        Some(unknown) => panic!("the bench takes no argument {unknown}"),
        None => measure(),
    }
}

fn measure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (cases, others) = case::all(folder.path());
    let results: Vec<Result> = cases.iter().map(|it| it.measure(ROUNDS)).chain(others).collect();
    println!("{}", case::table(&results));
    write(&results, Path::new("target/bench/result.json"));
}

fn write(results: &[Result], path: &Path) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("the folder of the results");
    let text = serde_json::to_string_pretty(results).expect("results are plain values");
    fs::write(path, text + "\n").expect("the results' file");
    println!("{}", path.display());
}
