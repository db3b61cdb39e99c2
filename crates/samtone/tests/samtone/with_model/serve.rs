//! The server: its protocols and limits, that its numbers are those of `encode`, and how it ends.

mod client;
mod limits;
mod page;

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use burn::backend::Flex;
use samtone_data::embedded::World;
use samtone_model::{
    BertConfig, DualEncoderConfig, EncoderConfig, Retriever, Sharing, Side, SideSettings,
    Similarity,
};
use samtone_testing::model::{model, one_layer_bert};
use samtone_text::TextTokenizer;
use serde_json::{Value, json};

use self::client::Server;
use super::tiny::{printed, refused, save_model, two_models};

/// Texts of every length up to more than the model reads.
fn texts() -> Vec<String> {
    let words =
        "the old mill by the river grinds corn and water runs from a deep dry well".split(' ');
    let words: Vec<&str> = words.cycle().take(60).collect();
    (1..=60).map(|length| words[60 - length..].join(" ")).collect()
}

/// Writes a model of two towers, of which each has its own prompt and length.
fn save_two_towers(path: &Path, similarity: Similarity) {
    let tokenizer = TextTokenizer::train_wordpiece(&texts(), 200, true).unwrap();
    let bert = BertConfig {
        hidden: 16,
        intermediate: 32,
        max_positions: 32,
        vocab_size: tokenizer.vocab_size(),
        ..one_layer_bert()
    };
    let config = DualEncoderConfig {
        encoder: EncoderConfig::Bert(bert),
        sharing: Sharing::Ade,
        ..Default::default()
    };
    let settings = [("the old ", 12), ("well: ", 24)]
        .map(|(prompt, length)| SideSettings { prompt: prompt.into(), max_tokens: Some(length) });
    let mut retriever = Retriever::new(model::<Flex>(&config, 3), tokenizer, settings).unwrap();
    retriever.similarity = similarity;
    retriever.save(path).unwrap();
}

/// What `samtone encode` makes of `texts`: bits of all numbers.
fn encoded(home: &Path, side: Side, texts: &[String], more: &[&str]) -> Vec<u32> {
    let lines: String =
        texts.iter().map(|text| json!({ "text": text }).to_string() + "\n").collect();
    fs::write(home.join("texts.jsonl"), lines).unwrap();
    let start = ["encode", "--model", "towers", "--input", "texts.jsonl", "--side", side.name()];
    printed(home, &[&start[..], &["--out", "encoded"], more].concat());
    let file = fs::read(home.join("encoded/embeddings.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let bits = bits_of(tensors.tensor("embeddings").unwrap().data());
    fs::remove_dir_all(home.join("encoded")).unwrap();
    bits
}

fn bits_of(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// The bits of an answer's numbers, which JSON writes so that they are read as they were.
fn bits(rows: &[Value]) -> Vec<u32> {
    let numbers = rows.iter().flat_map(|row| row.as_array().unwrap());
    numbers.map(|number| (number.as_f64().unwrap() as f32).to_bits()).collect()
}

fn openai(answer: &Value) -> Vec<Value> {
    answer["data"].as_array().unwrap().iter().map(|item| item["embedding"].clone()).collect()
}

#[test]
fn embeddings_are_those_of_encode_to_the_bit() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    save_two_towers(&home.join("towers"), Similarity::Cosine);
    let server = Server::start(home, &["--model", "towers"]);
    let texts = texts();
    for side in Side::ALL {
        let expected = encoded(home, side, &texts, &[]);
        let asked = json!({ "input": texts, "model": "any", "input_type": side.name() });
        let answer = server.post("/v1/embeddings", &asked).json();
        assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!("towers")));
        assert_eq!(bits(&openai(&answer)), expected, "{}", side.name());
        let mut asked = asked;
        asked["encoding_format"] = json!("base64");
        let answer = server.post("/v1/embeddings", &asked).json();
        let decode = |text: Value| STANDARD.decode(text.as_str().unwrap()).unwrap();
        let decoded: Vec<u8> = openai(&answer).into_iter().flat_map(decode).collect();
        assert_eq!(bits_of(&decoded), expected);
        for (path, name) in [("/embed", "prompt_name"), ("/", "input_type")] {
            let answer = server.post(path, &json!({ "inputs": texts, name: side.name() }));
            assert_eq!(bits(answer.json().as_array().unwrap()), expected);
        }
        // Whoever else asks at the same time, and one by one.
        let one = |(text, expected): (&String, &[u32])| {
            let asked = json!({ "input": text, "input_type": side.name() });
            let answer = server.post("/v1/embeddings", &asked).json();
            assert_eq!(bits(&openai(&answer)), expected, "{text}");
            answer["usage"]["prompt_tokens"].as_u64().unwrap()
        };
        let tokens: Vec<u64> = std::thread::scope(|scope| {
            let asked: Vec<_> = texts
                .iter()
                .zip(expected.chunks_exact(16))
                .map(|asked| scope.spawn(move || one(asked)))
                .collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        assert_eq!(*tokens.iter().max().unwrap(), [12, 24][side as usize]);
        let cut = encoded(home, side, &texts, &["--dims", "5"]);
        let asked = json!({ "input": texts, "dimensions": 5, "input_type": side.name() });
        assert_eq!(bits(&openai(&server.post("/v1/embeddings", &asked).json())), cut);
        let asked = json!({ "inputs": texts, "dimensions": 5, "input_type": side.name() });
        assert_eq!(bits(server.post("/embed", &asked).json().as_array().unwrap()), cut);
    }
}

#[test]
fn a_model_of_two_sides_is_told_which() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    save_two_towers(&home.join("towers"), Similarity::Cosine);
    let server = Server::start(home, &["--model", "towers", "--name", "mills"]);
    let answer = server.post("/v1/embeddings", &json!({ "input": "mill" }));
    assert_eq!(answer.status, 400);
    let error = &answer.json()["error"];
    assert_eq!(
        (&error["param"], &error["type"]),
        (&json!("input_type"), &json!("invalid_request_error"))
    );
    assert_eq!(server.post("/embed", &json!({ "inputs": "mill" })).status, 422);
    let models = server.get("/v1/models").json();
    assert_eq!(models["data"][0]["id"], "mills");
    drop(server);

    let server = Server::start(home, &["--model", "towers", "--input-type", "query"]);
    let of = |asked: Value| openai(&server.post("/v1/embeddings", &asked).json());
    let said = of(json!({ "input": "mill", "input_type": "query" }));
    assert_eq!(of(json!({ "input": "mill" })), said);
    assert_ne!(of(json!({ "input": "mill", "input_type": "passage" })), said);
}

#[test]
fn what_is_wrong_with_a_request_is_said_in_its_protocol() {
    let home = two_models();
    let server = Server::start(home.path(), &["--model", "model"]);
    for (path, asked, status, words) in [
        ("/v1/embeddings", "{", 400, "the body is not as expected: EOF"),
        ("/v1/embeddings", r#"{"model": "m"}"#, 400, "missing field `input`"),
        ("/v1/embeddings", r#"{"input": []}"#, 400, "`input` holds no text"),
        ("/v1/embeddings", r#"{"input": ["a", ""]}"#, 400, "`input[1]` is empty"),
        ("/v1/embeddings", r#"{"input": [1, 2]}"#, 400, "token ids are not taken"),
        ("/v1/embeddings", r#"{"input": "a", "dimensions": 17}"#, 400, "`dimensions` is 17"),
        ("/v1/embeddings", r#"{"input": "a", "dimensions": 0}"#, 400, "1 to 16"),
        ("/v1/embeddings", r#"{"input": "a", "encoding_format": "hex"}"#, 400, "variant `hex`"),
        ("/v1/nothing", "{}", 404, "nothing is served here"),
        ("/embed", "[", 422, "the body is not as expected"),
        ("/embed", r#"{"inputs": [[1]]}"#, 422, "token ids are not taken"),
        ("/embed", r#"{"inputs": ""}"#, 400, "`inputs` is empty"),
        ("/embed", r#"{"inputs": "a", "prompt_name": "x"}"#, 422, "variant `x`"),
        ("/embed", r#"{"inputs": "a", "truncation_direction": "left"}"#, 422, "lose their end"),
        ("/search", r#"{"query": "a"}"#, 404, "start the server with `--data`"),
    ] {
        let answer = server.send("POST", path, &[client::JSON], asked.as_bytes());
        assert_eq!(answer.status, status, "{path} {asked}");
        let error = answer.json();
        let message = match path {
            path if path.starts_with("/v1/") => &error["error"]["message"],
            _ => {
                assert!(error["error_type"].is_string(), "{error}");
                &error["error"]
            }
        };
        assert!(message.as_str().unwrap().contains(words), "{path} {asked}: {error}");
    }
    let answer = server.get("/v1/embeddings");
    assert_eq!((answer.status, answer.json()["error"]["param"].clone()), (405, Value::Null));
    let answer = server.send("POST", "/embed", &[], br#"{"inputs": "a"}"#);
    assert_eq!(answer.status, 415);
    assert!(answer.text().contains("Content-Type: application/json"), "{}", answer.text());
}

#[test]
fn a_long_text_is_cut_or_refused() {
    let home = two_models();
    let server = Server::start(home.path(), &["--model", "model"]);
    let long = "mill ".repeat(99);
    let fits = "who built it?";
    let embed = |text: &str, truncate: Value| {
        server.post("/embed", &json!({ "inputs": [fits, text], "truncate": truncate }))
    };
    assert_eq!(embed(&long, json!(null)).status, 200);
    assert_eq!(embed(&long, json!(true)).status, 200);
    assert_eq!(embed(fits, json!(false)).status, 200);
    let answer = embed(&long, json!(false));
    assert_eq!((answer.status, &answer.json()["error_type"]), (413, &json!("Validation")));
    assert!(answer.text().contains("more than the 32 tokens"), "{}", answer.text());
}

#[test]
fn embeddings_get_length_1_where_that_is_asked() {
    let home = tempfile::tempdir().unwrap();
    save_model(&World::generate(0, 200).dataset(), &home.path().join("long"), 1, false);
    let server = Server::start(home.path(), &["--model", "long"]);
    let length = |normalize: Value, dimensions: Value| {
        let asked = json!({ "inputs": "mill", "normalize": normalize, "dimensions": dimensions });
        let answer = server.post("/embed", &asked).json();
        let row = answer[0].as_array().unwrap().clone();
        (row.len(), row.iter().map(|x| x.as_f64().unwrap().powi(2)).sum::<f64>().sqrt())
    };
    for (normalize, dimensions, is_one) in [
        (json!(null), json!(null), true),
        (json!(true), json!(4), true),
        (json!(false), json!(null), false),
        (json!(false), json!(4), false),
    ] {
        let (numbers, length) = length(normalize.clone(), dimensions.clone());
        assert_eq!(numbers, dimensions.as_u64().unwrap_or(16) as usize);
        assert_eq!((length - 1.0).abs() < 1e-6, is_one, "{normalize} {dimensions}: {length}");
    }
}

#[test]
fn rows_that_are_cut_for_the_dot_product_get_length_1_too() {
    let home = tempfile::tempdir().unwrap();
    save_two_towers(&home.path().join("towers"), Similarity::Dot);
    let server = Server::start(home.path(), &["--model", "towers", "--input-type", "query"]);
    for (normalize, is_one) in [(json!(null), true), (json!(false), false)] {
        let asked = json!({ "inputs": "mill", "normalize": normalize, "dimensions": 5 });
        let answer = server.post("/embed", &asked).json();
        let squares = answer[0].as_array().unwrap().iter().map(|x| x.as_f64().unwrap().powi(2));
        let length = squares.sum::<f64>().sqrt();
        assert_eq!((length - 1.0).abs() < 1e-6, is_one, "{normalize}: {length}");
    }
}

#[test]
fn a_search_finds_what_ask_finds() {
    let home = two_models();
    let home = home.path();
    let question = "who built the bridge?";
    let ask =
        ["ask", "--model", "model", "--data", "data", "--format", "json", "-k", "7", question];
    let asked: Value = serde_json::from_str(&printed(home, &ask)).unwrap();
    let server = Server::start(home, &["--model", "model", "--data", "data"]);
    let answer = server.post("/search", &json!({ "query": question, "k": 7 })).json();
    let hits = answer["hits"].as_array().unwrap();
    assert_eq!((&answer["query"], hits.len()), (&json!(question), 7));
    for (hit, asked) in hits.iter().zip(asked["hits"].as_array().unwrap()) {
        for field in ["rank", "score", "_id", "title", "text"] {
            assert_eq!(hit[field], asked[field], "{field}");
        }
    }
    let info = server.get("/info").json();
    assert_eq!((&info["documents"], &info["has_graph"]), (&json!(200), &json!(false)));
    for (asked, status, words) in [
        (json!({ "query": " " }), 400, "`query` is empty"),
        (json!({ "query": "a", "k": 0 }), 422, "`k` is 0"),
        (json!({ "query": "a", "k": 1001 }), 422, "may be 1 to 1000"),
        (json!({ "query": "a", "ef": 9 }), 422, "an index with a graph"),
    ] {
        let answer = server.post("/search", &asked);
        assert_eq!(answer.status, status, "{asked}");
        assert!(answer.text().contains(words), "{}", answer.text());
    }
}

#[test]
fn an_index_is_searched_and_belongs_to_its_model() {
    let home = two_models();
    let home = home.path();
    let encode =
        ["encode", "--model", "model", "--side", "document", "--input", "data/corpus.jsonl"];
    printed(home, &[&encode[..], &["--out", "d"]].concat());
    let graph: &[&str] = if cfg!(feature = "usearch") { &["--graph"] } else { &[] };
    printed(home, &[&["index", "--documents", "d"][..], graph].concat());
    let serve = ["serve", "--port", "0", "--data", "data", "--index", "d", "--model"];
    let words = refused(home, 1, &[&serve[..], &["other"]].concat());
    assert!(words.contains("`d` was encoded with another model"), "{words}");
    let server = Server::start(home, &["--model", "model", "--data", "data", "--index", "d"]);
    let hits = |asked: Value| server.post("/search", &asked).json()["hits"].clone();
    let exact = hits(json!({ "query": "who grinds corn", "k": 9 }));
    assert_eq!(exact.as_array().unwrap().len(), 9);
    if cfg!(feature = "usearch") {
        assert_eq!(server.get("/info").json()["has_graph"], true);
        // Where it looks at everything, it is the exact one.
        assert_eq!(hits(json!({ "query": "who grinds corn", "k": 9, "ef": 200 })), exact);
        let few = hits(json!({ "query": "who grinds corn", "k": 9, "ef": 1 }));
        assert_eq!(few.as_array().unwrap().len(), 9);
    }
}
