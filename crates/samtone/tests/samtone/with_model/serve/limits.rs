//! Who is answered, how much is taken, and what becomes of it when the server ends.

use std::fs;
use std::net::TcpStream;

use serde_json::{Value, json};

use super::client::{JSON, Server, receive};
use crate::with_model::tiny::{refused, two_models};

const TOKEN: &str = "0123456789abcdef0123";

/// So many texts that they are computed for a while.
const MANY: usize = 3000;

fn many() -> Value {
    let text =
        |number: usize| format!("{number} {}", "who built the old mill by the river ".repeat(3));
    json!({ "input": (0..MANY).map(text).collect::<Vec<_>>() })
}

#[test]
fn other_machines_are_served_by_wish_and_token_alone() {
    let home = two_models();
    let home = home.path();
    fs::write(home.join("token"), format!("{TOKEN}\n")).unwrap();
    fs::write(home.join("short"), "0123456789\n").unwrap();
    let serve = ["serve", "--port", "0", "--model", "model"];
    for host in ["0.0.0.0", "::", "192.0.2.1"] {
        for more in [&[][..], &["--allow-remote"], &["--token-file", "token"]] {
            let words = refused(home, 2, &[&serve[..], &["--host", host], more].concat());
            assert!(words.contains(&format!("`{host}` is reached from other machines")), "{words}");
            assert!(words.contains("hint: `--allow-remote` with a token"), "{words}");
        }
    }
    let words = refused(home, 2, &[&serve[..], &["--token-file", "short"]].concat());
    assert!(words.contains("the token in `short` is not 16 letters or digits"), "{words}");
    let words = refused(home, 1, &[&serve[..], &["--token-file", "absent"]].concat());
    assert!(words.contains("cannot read the token in `absent`"), "{words}");
    let all = ["--host", "0.0.0.0", "--allow-remote", "--token-file", "token", "--model", "model"];
    let mut server = Server::start(home, &all);
    assert!(server.address.starts_with("0.0.0.0:"), "{}", server.address);
    server.address = server.address.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn a_token_is_asked_for() {
    let home = two_models();
    fs::write(home.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let server = Server::start(home.path(), &["--model", "model", "--token-file", "token"]);
    let body = br#"{"input": "mill"}"#;
    let with = |value: &str| {
        let headers = [JSON, ("Authorization", value)];
        server.send("POST", "/v1/embeddings", &headers, body)
    };
    assert_eq!(with(&format!("Bearer {TOKEN}")).status, 200);
    assert_eq!(with(&format!("bearer {TOKEN}")).status, 200);
    for wrong in ["", "Bearer", "Bearer ", "Bearer 0123456789abcdef012", TOKEN] {
        let answer = with(wrong);
        assert_eq!(answer.status, 401, "{wrong}");
        assert_eq!(answer.json()["error"]["code"], "invalid_api_key");
        assert!(answer.head.to_lowercase().contains("www-authenticate: bearer"), "{}", answer.head);
    }
    assert_eq!((server.get("/metrics").status, server.get("/info").status), (401, 401));
    assert_eq!((server.get("/health").status, server.get("/").status), (200, 200));
    // Embeddings are asked for at the page's place too.
    assert_eq!(server.post("/", &json!({ "inputs": "mill" })).status, 401);
    // Under any name, as through another server that knows the token.
    let headers = [JSON, ("Host", "example.org"), ("Authorization", &format!("Bearer {TOKEN}"))];
    assert_eq!(server.send("POST", "/v1/embeddings", &headers, body).status, 200);
}

#[test]
fn without_a_token_a_page_of_another_server_is_refused() {
    let home = two_models();
    let server = Server::start(home.path(), &["--model", "model"]);
    let (_, port) = server.address.split_once(':').unwrap();
    let at = |host: &str| server.send("GET", "/info", &[("Host", host)], b"").status;
    assert_eq!(at(&server.address), 200);
    assert_eq!(at(&format!("LOCALHOST:{port}")), 200);
    for other in ["example.org", &format!("example.org:{port}"), "localhost", "127.0.0.1:1", ""] {
        assert_eq!(at(other), 403, "{other}");
    }
}

#[test]
fn what_is_too_much_is_refused_and_says_so() {
    let home = two_models();
    let limits = ["--max-body", "1000", "--max-texts", "3", "--model", "model"];
    let server = Server::start(home.path(), &limits);
    let answer = server.post("/v1/embeddings", &json!({ "input": ["a", "b", "c", "d"] }));
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (413, &json!("input")));
    assert!(answer.text().contains("4 texts, but a request has at most 3"), "{}", answer.text());
    assert_eq!(server.post("/embed", &json!({ "inputs": ["a", "b", "c"] })).status, 200);
    let answer = server.post("/embed", &json!({ "inputs": "x".repeat(1000) }));
    assert_eq!((answer.status, &answer.json()["error_type"]), (413, &json!("Validation")));
    // Without a length that says it before.
    let chunks = format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000));
    let headers = [JSON, ("Transfer-Encoding", "chunked")];
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head = format!(
        "POST /embed HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}: {}\r\n{}: {}\r\n\r\n",
        server.address, headers[0].0, headers[0].1, headers[1].0, headers[1].1
    );
    std::io::Write::write_all(&mut stream, (head + &chunks).as_bytes()).unwrap();
    assert_eq!(receive(stream).status, 413);
    let serve = ["serve", "--port", "0", "--model", "model", "--max-queue", "9"];
    assert!(refused(home.path(), 2, &serve).contains("2048 texts, but 9 at most may wait"));
}

#[test]
fn a_full_queue_refuses_at_once_and_others_are_embedded_together() {
    let home = two_models();
    let most = (MANY + 20).to_string();
    let arguments = ["--model", "model", "--max-texts", "3000", "--max-queue", &most];
    let server = Server::start(home.path(), &arguments);
    let body = many().to_string();
    let begin = || {
        let stream = server.begin("POST", "/v1/embeddings", &[JSON], body.as_bytes());
        server.wait_for_queue(MANY as f64);
        stream
    };
    let first = begin();
    let answer = server.post("/v1/embeddings", &many());
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (429, &json!("rate_limit_exceeded"))
    );
    assert!(answer.head.to_lowercase().contains("retry-after: 1"), "{}", answer.head);
    // Twenty more have room, and do not wait for all of the first.
    let before = server.metric("samtone_batch_texts_count");
    let small: Vec<TcpStream> = (0..20)
        .map(|_| server.begin("POST", "/embed", &[JSON], br#"{"inputs": "who built it?"}"#))
        .collect();
    for stream in small {
        assert_eq!(receive(stream).status, 200);
    }
    let batches = server.metric("samtone_batch_texts_count") - before;
    let first = receive(first);
    assert_eq!(first.json()["data"].as_array().unwrap().len(), MANY);
    assert!(batches < 20.0, "{batches} batches for 20 requests that waited together");
    assert_eq!(server.metric("samtone_queue_texts"), 0.0);
    // Who goes away leaves the queue, and what waited is not computed.
    let texts = server.metric("samtone_batch_texts_sum");
    drop(begin());
    while server.metric("samtone_queue_texts") > 0.0 {}
    let computed = server.metric("samtone_batch_texts_sum") - texts;
    assert!(computed < MANY as f64, "{computed} texts were computed for nobody");
}

#[test]
fn what_was_asked_is_answered_when_the_server_ends() {
    let home = two_models();
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::start(home.path(), &["--model", "model", "--max-texts", "3000"]);
        let idle = TcpStream::connect(&server.address).unwrap();
        let body = many().to_string();
        let asked = server.begin("POST", "/v1/embeddings", &[JSON], body.as_bytes());
        server.wait_for_queue(MANY as f64);
        server.signal(signal);
        let answer = receive(asked);
        assert_eq!(answer.status, 200, "{signal}");
        assert_eq!(answer.json()["data"].as_array().unwrap().len(), MANY);
        assert_eq!(server.wait().code(), Some(0), "{signal}");
        assert!(TcpStream::connect(&server.address).is_err());
        drop(idle);
    }
}
