//! Mining with a model: the file it writes is a data set whose negatives are none of the positives.

use std::collections::HashSet;

use samtone_data::Dataset;
use samtone_data::embedded::World;

use super::tiny::{printed, save_model};

#[test]
fn a_model_mines_what_train_reads() {
    let home = tempfile::tempdir().unwrap();
    let dataset = World::generate(0, 200).dataset();
    dataset.save(&home.path().join("data")).unwrap();
    save_model(&dataset, &home.path().join("model"), 42, true);
    let mine = |out: &str, more: &[&str]| -> (serde_json::Value, Vec<u8>) {
        let first = ["mine", "--data", "data", "--model", "model", "--out", out, "--count", "3"];
        let arguments = [&first[..], &["--format", "json"], more].concat();
        let report = serde_json::from_str(&printed(home.path(), &arguments)).unwrap();
        (report, std::fs::read(home.path().join(out)).unwrap())
    };
    let (report, bytes) = mine("pairs.jsonl", &["--ranks", "5-60"]);
    assert_eq!(mine("again.jsonl", &["--ranks", "5-60"]).1, bytes);
    let random = |seed: &str| {
        let picks = ["--ranks", "5-60", "--no-margin", "--pick", "random", "--seed", seed];
        mine("random.jsonl", &picks).1
    };
    assert_eq!(random("1"), random("1"));
    assert_ne!(random("1"), random("2"));

    let mined = Dataset::load_pairs(&home.path().join("pairs.jsonl"), "train").unwrap();
    let rows = mined.pairs("train");
    assert_eq!(rows.len(), dataset.pairs("train").len());
    assert_eq!(report["rows"], rows.len());
    let negatives: usize = rows.iter().map(|row| row.negatives.len()).sum();
    assert_eq!(report["negatives"], negatives);
    assert!(negatives > 0);
    let splits: Vec<&str> = dataset.split_names().collect();
    let relevant: HashSet<(&str, &str)> = splits
        .iter()
        .flat_map(|split| dataset.qrels(split))
        .filter(|(_, _, grade)| *grade >= 1)
        .map(|(query, document, _)| (query, document))
        .collect();
    for row in &rows {
        let query = mined.queries()[row.query].id.as_str();
        assert!(relevant.contains(&(query, mined.document(row.document).id)));
        for &negative in &row.negatives {
            assert!(!relevant.contains(&(query, mined.document(negative).id)));
        }
    }
}
