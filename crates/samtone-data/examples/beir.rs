//! Reading a folder in BEIR layout: what is asked, what is found, who judged what.
//!
//! `cargo run -p samtone-data --example beir -- FOLDER SPLIT`

#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use std::path::Path;

use samtone_data::Dataset;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, split] = arguments.as_slice() else { return Err("expected FOLDER SPLIT".into()) };
    show(Path::new(folder), split)
}

fn show(folder: &Path, split: &str) -> Result<(), Box<dyn std::error::Error>> {
    let data = Dataset::load(folder, &[split])?;
    let (queries, documents) = (data.queries_of(split).len(), data.documents().len());
    println!("{documents} documents, {queries} queries in `{split}`");
    for pair in data.pairs(split).iter().take(3) {
        let (query, document) = (&data.queries()[pair.query], data.document(pair.document));
        println!("{}: {}\n  {}: {}", query.id, query.text, document.id, document.text);
    }
    Ok(())
}

#[test]
fn a_folder_is_shown() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    samtone_data::embedded::World::generate(0, 120).dataset().save(folder.path())?;
    show(folder.path(), "test")
}
