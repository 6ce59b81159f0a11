//! The API does what its description says: asked by Schemathesis, a program that makes up requests from it.

use std::{fs, path::Path, process::Command};

use portolan::{database::host::Host, mirror::Role, server::openapi};

use crate::{rest::Program, world::World};

/// So many requests are made up of each operation, besides those at the edges of what is described.
const EXAMPLES: &str = "10";

/// What is made up is the same each time.
const SEED: &str = "1";

/// No fault of ours, and every answer of the status, the media type, the headers and the shape that are described.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";

/// What takes away what is asked about, or the token that asks: that is asked last, and not by it.
const LAST: [&str; 4] = [
    "DELETE /api/v1/account/tokens/{item}",
    "DELETE /api/v1/account-tokens/{item}",
    "DELETE /api/v1/hosts/{host}",
    "DELETE /api/v1/sites/{site}",
];

/// Each request comes from a network of its own, so that none is refused for being one of too many.
const HOOKS: &str = "
import itertools, schemathesis
numbers = itertools.count()

@schemathesis.hook
def before_call(context, case, kwargs):
    number = next(numbers)
    case.headers['X-Forwarded-For'] = f'10.{number // 256 % 256}.{number % 256}.9'
    case.headers['X-Forwarded-Proto'] = 'https'
";

/// Makes up requests, by somebody with this token or by nobody. `choice` says for which operations.
fn ask(world: &World, token: Option<&str>, host: &Host, choice: &str) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv-schemathesis/bin/schemathesis");
    let folder = world.folder.path();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write("openapi.json", &openapi().to_string());
    write("hooks.py", HOOKS);
    let things = [
        ("path.host", host.id.0.to_string()),
        ("path.site", host.site_id.0.to_string()),
        ("path.name", "\"b\"".to_owned()),
        ("query.image", "\"fedora:41\"".to_owned()),
        ("query.repository", "\"fedora\"".to_owned()),
        ("query.category", "\"fedora\"".to_owned()),
    ];
    let things: String = things.iter().map(|(name, value)| format!("\"{name}\" = {value}\n")).collect();
    write("schemathesis.toml", &format!("hooks = \"hooks.py\"\n[parameters]\n{things}"));
    let mut command = Command::new(&program);
    command.current_dir(folder).args(["run", "openapi.json", "--url", &world.http.url, "--no-color"]);
    command.args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--no-shrink"]);
    command.args(["--max-examples", EXAMPLES, "--seed", SEED, "--warnings", "off"]);
    command.args(LAST.iter().flat_map(|it| [choice, it]));
    if let Some(token) = token {
        command.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    let output = command.output().unwrap_or_else(|error| {
        panic!("{}: {error}; run tests/setup.sh", program.display());
    });
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "what is answered is not what is described");
}

#[test]
fn every_answer_is_as_it_is_described() {
    let world = World::new("sqlite", |_| {});
    let host = world.host_row("b");
    ask(&world, None, &host, "--exclude-name");
    let program = Program::of(&world, "opa", Role::Operator, Some("a"));
    ask(&world, Some(program.token()), &host, "--exclude-name");
    assert_eq!(program.get("/account")["name"], "opa", "it could ask to the end");
    ask(&world, Some(program.token()), &host, "--include-name");
}
