//! Tokenizers of every kind, on hostile texts: the ids are those of transformers.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::fs;
use std::path::{Path, PathBuf};

use samtone_text::{TextError, TextTokenizer};
use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers").join(name)
}

/// What `fixtures/generate_tokenizers.py` wrote.
#[derive(serde::Deserialize)]
struct Cases {
    texts: Vec<String>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    whole: Vec<Vec<u32>>,
    cut: Vec<Vec<u32>>,
    pairs: Vec<Vec<u32>>,
}

fn cases() -> Cases {
    serde_json::from_slice(&fs::read(fixture("cases.json")).unwrap()).unwrap()
}

#[test]
fn every_kind_of_tokenizer_reads_as_in_transformers() {
    let Cases { texts, cases } = cases();
    for Case { name, whole, cut, pairs } in cases {
        let path = fixture(&format!("{name}.json"));
        let tokenizer = TextTokenizer::from_file(&path).unwrap();
        // The file's own truncation, to 5 tokens, and padding on the left change nothing.
        assert_eq!(
            tokenizer.cuts_left(),
            ["byte-level-bpe", "byte-fallback-bpe"].contains(&&*name)
        );
        let second = texts.iter().cycle().skip(1);
        let joined: Vec<(&String, &String)> = texts.iter().zip(second).collect();
        let rows = tokenizer.encode_pairs(&joined, 15).unwrap();
        for (at, text) in texts.iter().enumerate() {
            let text = text.as_str();
            assert_eq!(tokenizer.encode(text, 10_000).unwrap(), whole[at], "{name}: {text:?}");
            assert_eq!(tokenizer.encode(text, 7).unwrap(), cut[at], "{name}: {text:?}");
            assert_eq!(rows[at].ids, pairs[at], "{name}: {text:?} and the next");
        }
        assert_eq!(tokenizer.encode_batch(&texts, 10_000).unwrap(), whole, "{name}");
        // What is saved is the file.
        let home = tempfile::tempdir().unwrap();
        tokenizer.save(&home.path().join("x.json")).unwrap();
        assert_eq!(fs::read(home.path().join("x.json")).unwrap(), fs::read(path).unwrap());
    }
}

/// A tokenizer file with another value at a place.
fn changed(name: &str, edit: impl FnOnce(&mut Value)) -> TextTokenizer {
    let mut file: Value =
        serde_json::from_slice(&fs::read(fixture(&format!("{name}.json"))).unwrap()).unwrap();
    edit(&mut file);
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tokenizer.json");
    fs::write(&path, file.to_string()).unwrap();
    TextTokenizer::from_file(&path).unwrap()
}

#[test]
fn an_added_token_beyond_the_table_matters_only_where_it_is_written() {
    for case in cases().cases {
        let name = case.name.as_str();
        let tokenizer = TextTokenizer::from_file(&fixture(&format!("{name}.json"))).unwrap();
        let ids = tokenizer.vocab_size();
        let image = json!({
            "id": ids, "content": "<image>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true
        });
        let larger =
            changed(name, |file| file["added_tokens"].as_array_mut().unwrap().push(image.clone()));
        assert_eq!(larger.vocab_size(), ids + 1);
        assert!(larger.encode("the <image>", 99).unwrap().contains(&(ids as u32)));
        let larger = larger.limited_to(ids).unwrap();
        assert_eq!(
            larger.encode("the well", 99).unwrap(),
            tokenizer.encode("the well", 99).unwrap()
        );
        let expected =
            format!("the token \"<image>\" has id {ids}, and the model has embeddings for {ids}");
        for error in [
            larger.encode("the <image>", 99).unwrap_err(),
            larger.encode_bare("<image>", 99).unwrap_err(),
            larger.encode_pairs(&[("the", "<image>")], 99).unwrap_err(),
        ] {
            assert_eq!(error.to_string(), expected);
            assert!(error.hint().is_some());
        }
        // One id fewer: a token of the vocabulary itself, or one around every text, is lost.
        let short = match name {
            // `<mask>` was added to it.
            "byte-level-bpe" => ids - 2,
            _ => ids - 1,
        };
        let error = tokenizer.clone().limited_to(short).map(|_| ()).unwrap_err();
        assert!(matches!(error, TextError::BeyondTable { ids, .. } if ids == short), "{error}");
        assert!(tokenizer.limited_to(ids).is_ok());
    }
}

#[test]
fn a_token_around_every_text_must_be_in_the_table() {
    let tokenizer = changed("unigram", |file| {
        file["post_processor"] = json!({
            "type": "TemplateProcessing",
            "single": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "SpecialToken": { "id": "<end>", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }],
            "special_tokens": { "<end>": { "id": "<end>", "ids": [500], "tokens": ["<end>"] } }
        });
    });
    let error = tokenizer.limited_to(500).map(|_| ()).unwrap_err().to_string();
    assert!(error.ends_with("has id 500, and the model has embeddings for 500"), "{error}");
}

/// A vocabulary without letters, and without a token for what is unknown, is a tokenizer all the same.
#[test]
fn a_tokenizer_without_latin_letters_is_read() {
    let tokenizer = changed("unigram", |file| {
        file["model"] =
            json!({ "type": "BPE", "vocab": { "水": 0, "</s>": 1, "井": 2 }, "merges": [] });
        file["pre_tokenizer"] = Value::Null;
        file["added_tokens"] = json!([]);
    });
    assert_eq!(tokenizer.encode("水井", 9).unwrap(), [0, 2, 1]);
    assert_eq!(tokenizer.encode("a", 9).unwrap(), [1]);
}
