//! Commands that embed compute in the precision that they are asked for.

use std::fs;
use std::path::Path;

use samtone_data::embedded::World;

use super::tiny::{printed, refused, samtone, save_model};

/// A folder with a data set and a model.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let dataset = World::generate(0, 200).dataset();
    dataset.save(&home.path().join("data")).unwrap();
    save_model(&dataset, &home.path().join("model"), 1, true);
    home
}

const ENCODE: [&str; 7] =
    ["encode", "--model", "model", "--side", "document", "--input", "data/corpus.jsonl"];

/// Numbers of an embedding.
const DIM: usize = 16;

/// The embeddings of the documents, `[n, DIM]`.
fn encode(home: &Path, precision: &str) -> Vec<f32> {
    printed(home, &[&ENCODE[..], &["--precision", precision, "--out", precision]].concat());
    let bytes = fs::read(home.join(precision).join("embeddings.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let numbers = bytes[8 + header..].as_chunks().0.iter();
    numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
#[cfg(feature = "flex")]
fn embeddings_in_halves_are_near_those_in_f32() {
    let home = home();
    let single = encode(home.path(), "f32");
    for (precision, at_most) in [("bf16", 1e-3), ("f16", 1e-5)] {
        let half = encode(home.path(), precision);
        let pairs = single.chunks(DIM).zip(half.chunks(DIM));
        let cosines = pairs.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>());
        let furthest = cosines.map(|cosine| 1.0 - cosine).fold(0.0, f32::max);
        assert!(single != half && furthest < at_most, "{precision}: {furthest}");
    }
}

#[test]
#[cfg(feature = "flex")]
fn every_command_that_embeds_takes_a_precision() {
    let home = home();
    let both = |arguments: &[&str]| {
        ["f32", "bf16"].map(|precision| {
            let more = ["--precision", precision, "--format", "json"];
            printed(home.path(), &[arguments, &more].concat())
        })
    };
    // Random weights: near scores change places.
    let [single, half] = both(&["eval", "--model", "model", "--data", "data"]);
    assert_ne!(single, half);
    let mined = |precision: &str| {
        let arguments = ["mine", "--model", "model", "--data", "data", "--out", "m.jsonl"];
        let more = ["--no-margin", "--precision", precision];
        printed(home.path(), &[&arguments[..], &more].concat());
        fs::read(home.path().join("m.jsonl")).unwrap()
    };
    assert!(mined("f32") != mined("bf16"));
    let draw = ["--points", "20", "--perplexity", "6"];
    let analyze = [&["analyze", "--model", "model", "--data", "data"][..], &draw].concat();
    let [single, half] = both(&analyze).map(|text| {
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["models"][0]["geometry"].clone()
    });
    assert_ne!(single, half);
    // What is kept of one precision is not the other's.
    both(&["ask", "--model", "model", "--data", "data", "a well"]);
    assert_eq!(fs::read_dir(home.path().join("data/.samtone")).unwrap().count(), 2);
}

#[test]
#[cfg(feature = "flex")]
fn an_encode_does_not_go_on_in_another_precision() {
    let home = home();
    printed(home.path(), &[&ENCODE[..], &["--out", "e"]].concat());
    fs::rename(home.path().join("e/ids.txt"), home.path().join("e/ids.partial")).unwrap();
    let [whole, part] = ["safetensors", "partial"].map(|end| format!("e/embeddings.{end}"));
    fs::rename(home.path().join(whole), home.path().join(part)).unwrap();
    let more = ["--out", "e", "--precision", "bf16"];
    let words = refused(home.path(), 1, &[&ENCODE[..], &more].concat());
    assert!(words.contains("`e` was begun with another precision\n"), "{words}");
}

#[test]
#[cfg(feature = "flex")]
fn what_leaves_the_fused_operations_says_so() {
    let home = home();
    let said = |precision: &str| {
        let more = ["--precision", precision, "--out", precision];
        let output = samtone(home.path(), &[&ENCODE[..], &more].concat());
        String::from_utf8(output.stderr).unwrap()
    };
    let words = "`f16` leaves the fused operations of flex: `f32` is faster";
    assert!(said("f16").contains(words), "{}", said("f16"));
    assert!(!said("bf16").contains("leaves"));
}

#[test]
#[cfg(feature = "ndarray")]
fn a_precision_that_the_backend_lacks_is_refused() {
    let home = home();
    let more = ["--out", "e", "--precision", "bf16", "--backend", "ndarray"];
    let words = refused(home.path(), 2, &[&ENCODE[..], &more].concat());
    assert!(words.contains("does not compute in `bf16` here"), "{words}");
    let left = fs::read_dir(home.path().join("e")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}
