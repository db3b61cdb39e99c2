//! Mining with a model: the file it writes is a data set whose negatives are none of the positives.

#![cfg(feature = "flex")]
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use burn::backend::Flex;
use samtone_data::embedded::World;
use samtone_data::{Dataset, DocumentText, TextTokenizer};
use samtone_model::{
    BertConfig, DualEncoder, DualEncoderConfig, EncoderConfig, Retriever, SideSettings,
};

/// A folder with a model of random weights.
fn save_model(dataset: &Dataset, path: &Path) {
    let texts: Vec<_> = dataset
        .documents()
        .iter()
        .map(|document| document.passage(DocumentText::TitleText))
        .collect();
    let tokenizer = TextTokenizer::train_wordpiece(&texts, 600, true).unwrap();
    let bert = BertConfig {
        vocab_size: tokenizer.vocab_size(),
        hidden: 16,
        layers: 1,
        heads: 2,
        intermediate: 32,
        max_positions: 32,
        ..BertConfig::default()
    };
    let config = DualEncoderConfig { encoder: EncoderConfig::Bert(bert), ..Default::default() };
    let model = DualEncoder::<Flex>::init(&config, 42, &Default::default()).unwrap();
    let settings = || SideSettings { prompt: String::new(), max_tokens: Some(32) };
    Retriever::new(model, tokenizer, [settings(), settings()]).unwrap().save(path).unwrap();
}

#[test]
fn a_model_mines_what_train_reads() {
    let home = tempfile::tempdir().unwrap();
    let dataset = World::generate(0, 200).dataset();
    dataset.save(&home.path().join("data")).unwrap();
    save_model(&dataset, &home.path().join("model"));
    let mine = |out: &str, more: &[&str]| -> (serde_json::Value, Vec<u8>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
        command.current_dir(home.path()).args(["mine", "--data", "data", "--model", "model"]);
        command.args(["--out", out, "--count", "3", "--format", "json"]).args(more);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report = serde_json::from_slice(&output.stdout).unwrap();
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
        assert!(relevant.contains(&(query, &mined.documents()[row.document].id)));
        for &negative in &row.negatives {
            assert!(!relevant.contains(&(query, &mined.documents()[negative].id)));
        }
    }
}
