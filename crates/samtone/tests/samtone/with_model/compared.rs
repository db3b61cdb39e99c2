//! Embeddings are compared as the model's folder says, unless another similarity is asked for.

use std::fs;
use std::path::Path;

use samtone_data::embedded::World;

use super::tiny::{printed, refused, save_model};

/// A folder with a data set and two models, `dot` of which compares by dot product.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let dataset = World::generate(0, 200).dataset();
    dataset.save(&home.path().join("data")).unwrap();
    save_model(&dataset, &home.path().join("cosine"), 1, true);
    save_model(&dataset, &home.path().join("dot"), 1, false);
    home
}

#[test]
fn eval_compares_as_the_folder_says() {
    let home = home();
    let eval = |model: &str, more: &[&str]| {
        let arguments = ["eval", "--model", model, "--data", "data", "--format", "json"];
        printed(home.path(), &[&arguments[..], more].concat())
    };
    let (dot, cosine) = (["--similarity", "dot"], ["--similarity", "cosine"]);
    assert_ne!(eval("dot", &dot), eval("dot", &cosine));
    assert_eq!(eval("dot", &[]), eval("dot", &dot));
    assert_eq!(eval("cosine", &[]), eval("cosine", &cosine));
}

#[test]
fn mine_compares_as_the_folder_says() {
    let home = home();
    let mine = |more: &[&str]| {
        let arguments = ["mine", "--model", "dot", "--data", "data", "--out", "m.jsonl"];
        printed(home.path(), &[&arguments[..], more].concat());
        fs::read(home.path().join("m.jsonl")).unwrap()
    };
    let dot = mine(&["--similarity", "dot"]);
    assert_ne!(mine(&["--similarity", "cosine"]), dot);
    assert_eq!(mine(&[]), dot);
}

#[test]
fn analyze_compares_each_model_as_its_folder_says() {
    let home = home();
    let arguments = ["analyze", "--model", "cosine", "--model", "dot", "--data", "data"];
    let more = ["--points", "20", "--perplexity", "6", "--format", "json"];
    let found: serde_json::Value =
        serde_json::from_str(&printed(home.path(), &[&arguments[..], &more].concat())).unwrap();
    assert_eq!(found["models"][0]["similarity"], "cosine");
    assert_eq!(found["models"][1]["similarity"], "dot");
    assert_eq!(found["models"][1]["document_text"], "title-text");
    // What cannot be drawn is said before a model is opened.
    let words = refused(home.path(), 1, &[&arguments[..], &["--perplexity", "500"]].concat());
    assert!(words.starts_with("error: t-SNE with a perplexity of 500 needs"), "{words}");
}

fn encode(home: &Path, model: &str, side: &str, file: &str, out: &str) {
    let arguments = ["encode", "--model", model, "--input", file, "--side", side, "--out", out];
    printed(home, &arguments);
}

#[test]
fn search_compares_as_the_folder_of_its_embeddings_said() {
    let home = home();
    for model in ["cosine", "dot"] {
        encode(home.path(), model, "query", "data/queries.jsonl", &format!("{model}-q"));
        encode(home.path(), model, "document", "data/corpus.jsonl", &format!("{model}-d"));
    }
    let search = |more: &[&str]| {
        let arguments = ["search", "--queries", "dot-q", "--documents", "dot-d", "--out", "r/run"];
        printed(home.path(), &[&arguments[..], more].concat());
        fs::read(home.path().join("r/run")).unwrap()
    };
    let (dot, cosine) = (search(&["--similarity", "dot"]), search(&["--similarity", "cosine"]));
    assert_ne!(dot, cosine);
    assert_eq!(search(&[]), dot);

    let mixed = ["search", "--queries", "cosine-q", "--documents", "dot-d", "--out", "mixed"];
    let words = refused(home.path(), 1, &mixed);
    assert!(words.contains("`cosine-q` and `dot-d` were embedded by different models"), "{words}");
    // Folders of other programs do not say what they come from.
    for side in ["dot-q", "dot-d"] {
        fs::remove_file(home.path().join(side).join("encode.json")).unwrap();
    }
    assert_eq!(search(&[]), cosine);
}

#[test]
fn export_keeps_how_a_model_compares_and_reads() {
    let home = home();
    for model in ["cosine", "dot"] {
        let out = format!("{model}-again");
        printed(home.path(), &["export", "--model", model, "--out", &out]);
        let file = |folder: &str| {
            fs::read(home.path().join(folder).join("config_sentence_transformers.json")).unwrap()
        };
        assert_eq!(file(&out), file(model));
        let words = refused(home.path(), 2, &["export", "--model", "nowhere", "--out", &out]);
        assert!(words.contains(&format!("`{out}` exists already")), "{words}");
    }
    // Without Normalize, but compared by cosine: the folder's word, not a guess.
    let path = home.path().join("dot/config_sentence_transformers.json");
    let text = fs::read_to_string(&path).unwrap();
    let word = |text: &str| text.contains("\"similarity_fn_name\": \"cosine\"");
    fs::write(&path, text.replace("\"dot\"", "\"cosine\"")).unwrap();
    assert!(word(&fs::read_to_string(&path).unwrap()));
    printed(home.path(), &["export", "--model", "dot", "--out", "x"]);
    let written = home.path().join("x/config_sentence_transformers.json");
    assert!(word(&fs::read_to_string(written).unwrap()));
}
