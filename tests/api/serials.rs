//! A mirror's script asks whether there is anything new.

use reqwest::Method;

use crate::world::{World, on_both};

fn serial(world: &World) -> i64 {
    let answer = world.http.get("/api/v1/serials?category=fedora", &[]);
    let line = answer.text();
    line.strip_prefix("fedora ").unwrap().trim_end().parse().unwrap()
}

#[test]
fn one_small_answer_tells_whether_there_is_anything_new() {
    on_both(|world| {
        let serial = serial(world);
        let ask = |query: &str, tag: &str| {
            world.http.get(&format!("/api/v1/serials?{query}"), &[("if-none-match", tag)])
        };
        let tag = format!("\"{serial}\"");
        let answer = ask("category=fedora", "\"1\"");
        assert_eq!((answer.status, answer.header("etag")), (200, tag.as_str()));
        assert_eq!(answer.text(), format!("fedora {serial}\n"));
        let answer = ask("category=fedora", &tag);
        assert_eq!((answer.status, answer.body.len()), (304, 0));
        // Several at once: one request, and a tag that tells them apart.
        let answer = ask("category=fedora&category=fedora", &tag);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), format!("fedora {serial}\nfedora {serial}\n"));
        assert_eq!(answer.header("etag"), format!("\"{serial}-{serial}\""));
        assert_eq!(ask("category=fedora&category=fedora", answer.header("etag")).status, 304);
    });
}

#[test]
fn a_slip_is_named() {
    on_both(|world| {
        let check = |path: &str, status: u16, part: &str| {
            let answer = world.http.get(path, &[]);
            assert!(answer.status == status && answer.text().contains(part), "{path}: {}", answer.text());
        };
        check("/api/v1/serials", 400, "category is missing");
        check("/api/v1/serials?category=fedoraa", 404, r#"{"error":"there is no category fedoraa"}"#);
        check("/api/v1/serials?category=fedora&category=%00", 404, "there is no category");
        let many = "category=fedora&".repeat(101);
        check(&format!("/api/v1/serials?{many}"), 400, "at most 100 categories");
        let refused = world.http.send_body(Method::POST, "/api/v1/serials?category=fedora", &[], "");
        assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD"));
    });
}
