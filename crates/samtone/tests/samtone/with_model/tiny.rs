//! A tiny model of random weights, and the command line.

use std::path::Path;
use std::process::{Command, Output};

use burn::backend::Flex;
use samtone_data::Dataset;
use samtone_model::{
    BertConfig, DualEncoder, DualEncoderConfig, EncoderConfig, Retriever, SideSettings, Similarity,
};
use samtone_text::{DocumentText, TextTokenizer};

/// Writes a model folder whose weights come from `seed`; its embeddings have length 1 if it
/// `normalizes`, and are compared by dot product if not.
pub(crate) fn save_model(dataset: &Dataset, path: &Path, seed: u64, normalizes: bool) {
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
    let config = DualEncoderConfig {
        encoder: EncoderConfig::Bert(bert),
        normalize: normalizes,
        ..Default::default()
    };
    let model = DualEncoder::<Flex>::init(&config, seed, &Default::default()).unwrap();
    let settings = || SideSettings { prompt: String::new(), max_tokens: Some(32) };
    let mut retriever = Retriever::new(model, tokenizer, [settings(), settings()]).unwrap();
    retriever.similarity = if normalizes { Similarity::Cosine } else { Similarity::Dot };
    retriever.save(path).unwrap();
}

/// `samtone` in `folder`.
pub(crate) fn samtone(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
    command.current_dir(folder).args(arguments).output().unwrap()
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
