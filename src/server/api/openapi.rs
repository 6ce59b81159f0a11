//! The description of the API, made from the tables that answer it.

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    BASE, Entry, JSON, Problem,
    entry::Kind,
    listed::{MOST, USUAL},
    of, problem,
};
use crate::server::{desk, pages};

/// The whole API, by OpenAPI 3.1.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|it| {
        it.definitions_path = "/components/schemas".into();
        it.meta_schema = None;
    });
    let mut generator = SchemaGenerator::new(settings);
    let problem = of::<Problem>(&mut generator);
    let mut paths = Map::new();
    for entry in pages::api::list_entries().chain(desk::api::list_entries()) {
        let path = paths.entry(format!("{BASE}{}", entry.path)).or_insert_with(|| json!({}));
        path[entry.method.to_lowercase()] = describe(&entry, &mut generator);
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Portolan",
            "version": "1",
            "description": "Mirrors of container images: who they are, what they hold, and how their admins and the operators keep them.",
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": {
                "Problem": {
                    "description": "It failed, for the reason that is told",
                    "content": { problem::MEDIA_TYPE: { "schema": problem } },
                },
            },
            "schemas": generator.take_definitions(true),
        },
    })
}

fn describe(entry: &Entry, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": operation_id(entry),
        "summary": entry.summary,
        "tags": [entry.path.trim_start_matches('/').split('/').next()],
        "parameters": parameters(entry),
        "responses": responses(entry, generator),
        "security": if entry.needs.is_some() { json!([{ "token": [] }]) } else { json!([]) },
    });
    if let Some((scope, role)) = entry.needs {
        operation["description"] =
            format!("A token of the scope `{scope}`, of an account that is at least {role}.").into();
    }
    if let Some(body) = entry.body {
        let content = json!({ "application/json": { "schema": body(generator) } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

/// What is sent back when it is done: at once, anew, or once an operator agrees.
fn responses(entry: &Entry, generator: &mut SchemaGenerator) -> Value {
    let content = json!({ entry.media_type: { "schema": (entry.answer)(generator) } });
    let failed = match entry.media_type {
        JSON => json!({ "$ref": "#/components/responses/Problem" }),
        _ => text_failed(),
    };
    let done = |description: &str| {
        let mut done = json!({ "description": description, "content": content });
        if entry.gives_version {
            let meaning = "the version, for `If-Match`";
            done["headers"] = json!({ "ETag": { "description": meaning, "schema": { "type": "string" } } });
        }
        done
    };
    match entry.method {
        "GET" => json!({ "200": done("What was asked for"), "default": failed }),
        "POST" => json!({
            "200": done("It is done"),
            "201": done("It is made; `Location` says where it is"),
            "202": done("It waits for an operator"),
            "default": failed,
        }),
        _ => json!({ "200": done("It is done"), "202": done("It waits for an operator"), "default": failed }),
    }
}

/// How what answers in plain text tells scripts that it failed.
fn text_failed() -> Value {
    let schema = json!({
        "type": "object",
        "properties": { "error": { "type": "string" } },
        "required": ["error"],
    });
    json!({
        "description": "It failed, for the reason that is told",
        "content": { JSON: { "schema": schema } },
    })
}

fn parameters(entry: &Entry) -> Vec<Value> {
    let names = entry.path.split('{').skip(1).filter_map(|it| it.split('}').next());
    let string = json!({ "type": "string" });
    let in_path = names.map(|it| json!({ "name": it, "in": "path", "required": true, "schema": string }));
    let in_query = entry.parameters.iter().map(|it| {
        let schema = match it.kind {
            Kind::Text => string.clone(),
            Kind::Texts => json!({ "type": "array", "items": string, "minItems": 1, "maxItems": 100 }),
            Kind::Limit => json!({ "type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL }),
        };
        let (name, description) = (it.name, it.meaning);
        json!({
            "name": name,
            "in": "query",
            "description": description,
            "required": it.is_needed,
            "schema": schema,
        })
    });
    let version = entry.takes_version.then(|| {
        let meaning = "the ETag that was shown: when it is another one by now, nothing is changed";
        json!({ "name": "If-Match", "in": "header", "description": meaning, "schema": string })
    });
    in_path.chain(in_query).chain(version).collect()
}

/// `GET /hosts/{host}/crawl`: `getHostsHostCrawl`.
fn operation_id(entry: &Entry) -> String {
    // `account-tokens` is one word, and another one than `account/tokens`.
    let words = entry.path.split(['/', '{', '}']).filter(|it| !it.is_empty());
    let large = |word: &str| word[..1].to_uppercase() + &word[1..].replace('-', "");
    entry.method.to_lowercase() + &words.map(large).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_in_the_repository_is_that_of_the_code() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/openapi.json");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let kept: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(kept, openapi(), "run: cargo run -- config openapi > schema/openapi.json");
    }

    #[test]
    fn operations_have_names_of_their_own_and_schemas_are_there() {
        let document = openapi();
        let text = document.to_string();
        let operations =
            document["paths"].as_object().unwrap().values().flat_map(|it| it.as_object().unwrap().values());
        let mut ids: Vec<_> = operations.map(|it| it["operationId"].as_str().unwrap()).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
        for name in text.split("#/components/schemas/").skip(1).filter_map(|it| it.split('"').next()) {
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}
