//! The page, and texts that would like to be more than text.

use std::fs;

use serde_json::json;

use super::client::Server;
use crate::with_model::tiny::two_models;

/// A text that runs, where it is taken for markup.
const HOSTILE: &str =
    "</script><script>window.pwned=1</script><img src=x onerror=pwned()> \u{202e}\0'\"&lt;";

#[test]
fn the_page_is_complete_and_holds_no_text_of_the_documents() {
    let home = two_models();
    let corpus = [
        json!({ "_id": "<b>d1</b>", "title": "<i>Mills</i>", "text": HOSTILE }),
        json!({ "_id": "d2", "title": "", "text": "Water is drawn from the well." }),
    ];
    fs::create_dir(home.path().join("hostile")).unwrap();
    let lines: String = corpus.iter().map(|line| line.to_string() + "\n").collect();
    fs::write(home.path().join("hostile/corpus.jsonl"), lines).unwrap();
    let server = Server::start(home.path(), &["--model", "model", "--data", "hostile"]);
    let page = server.get("/");
    assert_eq!(page.status, 200);
    let head = page.head.to_lowercase();
    for header in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
    ] {
        assert!(head.contains(header), "{head}");
    }
    let page = page.text();
    assert!(page.contains("default-src 'none'; style-src 'sha256-"), "{page}");
    for elsewhere in ["http://", "https://", "src=", "innerHTML", "pwned", "Mills"] {
        assert!(!page.contains(elsewhere), "the page holds {elsewhere}");
    }
    let answer = server.post("/search", &json!({ "query": HOSTILE }));
    assert!(answer.head.to_lowercase().contains("content-type: application/json"));
    let answer = answer.json();
    let hits = answer["hits"].as_array().unwrap();
    let hit = hits.iter().find(|hit| hit["_id"] == "<b>d1</b>").unwrap();
    assert_eq!((&hit["title"], &hit["text"]), (&json!("<i>Mills</i>"), &json!(HOSTILE)));
    assert_eq!(answer["query"], HOSTILE);
}
