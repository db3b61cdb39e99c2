//! A tiny model of random weights, and the command line.

use std::path::Path;
use std::process::{Command, Output};

use burn::backend::Flex;
use samtone_data::Dataset;
use samtone_data::embedded::World;
use samtone_model::BertConfig;
use samtone_testing::model::{one_layer_bert, retriever};
use samtone_text::DocumentText;

/// Writes a model folder whose weights come from `seed`; its embeddings have length 1 if it
/// `normalizes`, and are compared by dot product if not.
pub(crate) fn save_model(dataset: &Dataset, path: &Path, seed: u64, normalizes: bool) {
    let texts: Vec<_> =
        dataset.documents().map(|document| document.passage(DocumentText::TitleText)).collect();
    let bert = BertConfig { hidden: 16, intermediate: 32, max_positions: 32, ..one_layer_bert() };
    let retriever = retriever::<Flex>(&texts, 600, bert, seed, normalizes, "");
    retriever.save(path).unwrap();
}

/// A folder with judged `data` and two models, `model` and `other`.
pub(crate) fn two_models() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let dataset = World::generate(0, 200).dataset();
    dataset.save(&home.path().join("data")).unwrap();
    save_model(&dataset, &home.path().join("model"), 1, true);
    save_model(&dataset, &home.path().join("other"), 2, true);
    home
}

/// `samtone` in `folder`, where the cache of models is its `hub`.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
    command.env("HF_HUB_CACHE", "hub").current_dir(folder).args(arguments);
    command
}

/// What becomes of it.
pub(crate) fn samtone(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

/// What a command that succeeds prints on stdout.
#[track_caller]
pub(crate) fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = samtone(folder, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a command that fails with `code` says.
#[track_caller]
pub(crate) fn refused(folder: &Path, code: i32, arguments: &[&str]) -> String {
    let output = samtone(folder, arguments);
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words}");
    words
}

/// Embeds `data/FILE.jsonl` of a folder by one of its models.
pub(crate) fn encode(home: &Path, model: &str, file: &str, side: &str, more: &[&str]) {
    let input = format!("data/{file}.jsonl");
    let start = ["encode", "--model", model, "--input", &input, "--side", side];
    printed(home, &[&start[..], more].concat());
}
