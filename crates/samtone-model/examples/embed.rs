//! Texts to embeddings by a model folder: sentence-transformers', Hugging Face's or samtone's own.
//!
//! `cargo run -p samtone-model --example embed -- FOLDER TEXT...`

#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use burn::backend::Flex;
use samtone_model::{Retriever, Side, Similarity};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("expected FOLDER TEXT...")?;
    let texts: Vec<String> = arguments.collect();
    embed(folder.as_ref(), &texts)
}

/// Prints how the first text, a query, compares with each other, documents.
fn embed(folder: &std::path::Path, texts: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let retriever = Retriever::<Flex>::open(folder, &Default::default())?;
    let [query, documents @ ..] = texts else { return Err("no text was given".into()) };
    let query = retriever.encode_texts(Side::Query, &[query])?;
    let rows = retriever.encode_texts(Side::Document, documents)?;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let norm = |a: &[f32]| dot(a, a).sqrt();
    for (text, row) in documents.iter().zip(rows.chunks(retriever.dim())) {
        let score = match retriever.similarity {
            Similarity::Cosine => dot(&query, row) / (norm(&query) * norm(row)),
            Similarity::Dot => dot(&query, row),
        };
        println!("{score:.4} {text}");
    }
    Ok(())
}

#[test]
fn a_folder_embeds_texts() -> Result<(), Box<dyn std::error::Error>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/folders/model");
    let texts = ["which well is dry?", "a well holds water", "the moon"].map(String::from);
    embed(folder.as_ref(), &texts)
}
