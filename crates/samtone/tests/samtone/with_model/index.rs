//! An index says what it is of, finds what the exact search finds, and is refused where it is stale.

use std::fs;
use std::path::Path;

use serde_json::Value;

#[cfg(feature = "usearch")]
use super::tiny::command;
use super::tiny::{encode, printed, refused, two_models};

/// A folder with two models, judged data, and its queries and documents as embeddings.
fn home() -> tempfile::TempDir {
    let home = two_models();
    encode(home.path(), "model", "queries", "query", &["--out", "q"]);
    encode(home.path(), "model", "corpus", "document", &["--out", "d"]);
    home
}

fn search(home: &Path, more: &[&str]) -> String {
    let start = ["search", "--queries", "q", "-k", "7", "--out", "-"];
    printed(home, &[&start[..], more].concat())
}

#[test]
fn an_index_is_exact_and_says_what_it_is_of() {
    let home = home();
    let home = home.path();
    encode(home, "model", "corpus", "document", &["--out", "parts", "--shard", "1/2"]);
    encode(home, "model", "corpus", "document", &["--out", "parts", "--shard", "2/2"]);
    let expected = search(home, &["--documents", "d"]);
    for folder in ["d", "parts"] {
        let index = ["index", "--documents", folder];
        let words = printed(home, &index);
        assert!(words.starts_with("200 documents of 16 dimensions, by cosine, in "), "{words}");
        assert_eq!(search(home, &["--index", folder]), expected);
        let read = |file: String| -> Value {
            serde_json::from_slice(&fs::read(home.join(file)).unwrap()).unwrap()
        };
        let (index, encoded) = (read(format!("{folder}/index.json")), read("d/encode.json".into()));
        for field in ["model", "similarity", "rows", "dim", "dtype"] {
            assert_eq!(index[field], encoded[field], "{field}");
        }
        let words = refused(
            home,
            1,
            &["search", "--queries", "q", "--out", "r", "--index", folder, "--ef", "9"],
        );
        assert!(
            words.contains(&format!("`{folder}` has no graph, which `--ef` is for\n")),
            "{words}"
        );
    }
    let words = refused(home, 1, &["search", "--queries", "q", "--out", "r", "--index", "q"]);
    assert!(words.contains("`q` holds no `index.json`\n"), "{words}");
    // How embeddings are compared is the index's to say.
    let by_dot = search(home, &["--documents", "d", "--similarity", "dot"]);
    printed(home, &["index", "--documents", "d", "--similarity", "dot"]);
    assert_eq!(search(home, &["--index", "d"]), by_dot);
}

#[test]
fn an_index_of_other_embeddings_is_refused() {
    let home = home();
    let home = home.path();
    printed(home, &["index", "--documents", "d"]);
    let index = fs::read(home.join("d/index.json")).unwrap();
    let search = ["search", "--queries", "q", "--out", "r", "--index", "d"];
    for (model, more, expected) in [
        ("other", &[][..], "another model, input or settings\n"),
        ("model", &["--max-tokens", "9"], "another model, input or settings\n"),
        ("model", &["--dims", "8"], "another number of rows, dimensions or another dtype\n"),
        ("model", &["--dtype", "f16"], "another number of rows, dimensions or another dtype\n"),
    ] {
        fs::remove_dir_all(home.join("d")).unwrap();
        encode(home, model, "corpus", "document", &[&["--out", "d"][..], more].concat());
        fs::write(home.join("d/index.json"), &index).unwrap();
        let words = refused(home, 1, &search);
        assert!(words.contains("is of other embeddings than lie there: "), "{words}");
        assert!(words.contains(expected) && words.contains("index them again"), "{words}");
    }
    fs::remove_file(home.join("d/encode.json")).unwrap();
    let words = refused(home, 1, &["index", "--documents", "d"]);
    assert!(words.contains("`d` does not say what it comes from\n"), "{words}");
}

#[cfg(not(feature = "usearch"))]
#[test]
fn a_build_without_graphs_says_so() {
    let home = home();
    let words = refused(home.path(), 1, &["index", "--documents", "d", "--graph"]);
    assert!(words.contains("this build of `samtone` has no graphs\n"), "{words}");
    assert!(words.contains("build with `--features usearch`"), "{words}");
    assert!(!home.path().join("d/index.json").exists());
}

/// What `samtone index` prints; by one thread, of which a graph is the same each time. Several may leave
/// a row where no search comes by.
#[cfg(feature = "usearch")]
fn graph_of(home: &Path, arguments: &[&str]) -> String {
    let output = command(home, arguments).env("RAYON_NUM_THREADS", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[cfg(feature = "usearch")]
#[test]
fn a_graph_finds_what_the_exact_search_finds() {
    let home = home();
    let home = home.path();
    for (dtype, similarity) in
        [("f32", "cosine"), ("f32", "dot"), ("f16", "cosine"), ("int8", "dot")]
    {
        let out = format!("{dtype}-{similarity}");
        encode(home, "model", "corpus", "document", &["--out", &out, "--dtype", dtype]);
        let index = ["index", "--documents", &out, "--graph", "--similarity", similarity];
        let index = [&index[..], &["--ef", "4,200", "--format", "json"]].concat();
        let index: Value = serde_json::from_str(&graph_of(home, &index)).unwrap();
        let recall = index["graph"]["recall"].as_array().unwrap();
        let of: Vec<_> =
            recall.iter().map(|of| (of["ef"].as_u64(), of["recall"].as_f64())).collect();
        assert_eq!((of.len(), of[1]), (2, (Some(200), Some(1.0))), "{of:?}");
        // Where it looks at everything, the run is the exact one, scores and all.
        let exact = search(home, &["--documents", &out, "--similarity", similarity]);
        assert_eq!(search(home, &["--index", &out, "--ef", "200"]), exact);
        let few = search(home, &["--index", &out, "--ef", "1"]);
        assert_eq!(few.lines().count(), exact.lines().count());
    }
    let own = |more: &[&str]| {
        let start = ["search", "--queries", "d", "-k", "3", "--out", "-", "--drop-own"];
        printed(home, &[&start[..], more].concat())
    };
    assert_eq!(own(&["--index", "f32-cosine", "--ef", "200"]), own(&["--documents", "d"]));
    let ask = |more: &[&str]| {
        let start = ["ask", "--model", "model", "--data", "data", "--format", "json"];
        let answer = printed(home, &[&start[..], more, &["who grinds corn"]].concat());
        answer[answer.find("\"hits\"").unwrap()..].to_owned()
    };
    let expected = ask(&["--documents", "d"]);
    assert_eq!(ask(&["--index", "f32-cosine", "--ef", "200"]), expected);
    assert_eq!(ask(&["--index", "f32-cosine"]), expected);
}

#[cfg(feature = "usearch")]
#[test]
fn a_graph_is_measured_kept_whole_and_of_its_embeddings() {
    let home = home();
    let home = home.path();
    encode(home, "other", "queries", "query", &["--out", "others"]);
    let graph = ["index", "--documents", "d", "--graph"];
    let words = refused(home, 1, &[&graph[..], &["--queries", "others"]].concat());
    assert!(words.contains("the queries were embedded by another model"), "{words}");
    let words = graph_of(home, &[&graph[..], &["--queries", "q"]].concat());
    assert!(words.contains("recall@10 beside the exact search, by queries:\n"), "{words}");
    let path = home.join("d/index.json");
    let index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(index["graph"]["connectivity"], 16);
    assert!(index["graph"]["recall"][0].get("milliseconds").is_none(), "{index}");
    let search = ["search", "--queries", "q", "--out", "r", "--index", "d", "--ef", "9"];
    let file = home.join("d/graph.usearch");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    assert!(refused(home, 1, &search).contains("`graph.usearch` has "));
    // As long, but of another space.
    graph_of(home, &["index", "--documents", "d", "--graph", "--similarity", "dot"]);
    let index = fs::read_to_string(&path).unwrap();
    fs::write(&path, index.replace("\"dot\"", "\"cosine\"")).unwrap();
    assert!(refused(home, 1, &search).contains("d/graph.usearch` is no graph of this index"));
    // Without a graph again: none is left over.
    printed(home, &["index", "--documents", "d"]);
    assert!(!file.exists());
    // What two bytes cannot hold is found by its direction, or refused where its length counts.
    let path = home.join("d/embeddings.safetensors");
    let bytes = fs::read(&path).unwrap();
    let mut great = bytes.clone();
    let last = great.len() - 4;
    for scale in [1e30_f32, 1e-30] {
        great[last - 60..].copy_from_slice(&[scale; 16].map(f32::to_le_bytes).concat());
        fs::write(&path, &great).unwrap();
        graph_of(home, &graph);
        let own = ["search", "--queries", "d", "-k", "1", "--out", "-"];
        let by_graph = printed(home, &[&own[..], &["--index", "d", "--ef", "200"]].concat());
        assert_eq!(by_graph, printed(home, &[&own[..], &["--documents", "d"]].concat()), "{scale}");
    }
    great[last..].copy_from_slice(&1e30_f32.to_le_bytes());
    fs::write(&path, &great).unwrap();
    let words = refused(home, 1, &[&graph[..], &["--similarity", "dot"]].concat());
    assert!(words.contains("` holds a number beyond 65504, a graph's greatest\n"), "{words}");
    great[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, &great).unwrap();
    assert!(refused(home, 1, &graph).contains("` holds a NaN or an infinity\n"));
    encode(home, "model", "corpus", "document", &["--out", "bits", "--dtype", "binary"]);
    let words = refused(home, 2, &["index", "--documents", "bits", "--graph"]);
    assert!(words.contains("binary embeddings have no graph"), "{words}");
}
