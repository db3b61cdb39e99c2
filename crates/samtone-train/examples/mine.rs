//! Hard negatives for the pairs of a data set, out of BM25's ranking; any other ranking is a
//! `CandidateSource` too.
//!
//! `cargo run -p samtone-train --example mine`

#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use samtone_data::embedded::World;
use samtone_eval::bm25::{Analyzer, Bm25Config};
use samtone_text::DocumentText;
use samtone_train::mine::{Lexical, MineConfig, Ranks, mine};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = World::generate(0, 400).dataset();
    let text = DocumentText::TitleText;
    let source = Lexical::new(&data, text, Analyzer::default(), Bm25Config::default());
    let ranks = Ranks::new(1, 30).ok_or("ranks run from 1")?;
    let mined =
        mine(&data, "train", &source, &MineConfig { ranks, count: 3, ..Default::default() })?;
    for pair in mined.rows.iter().take(2) {
        let title = |index: usize| data.document(index).title;
        let negatives: Vec<_> = pair.negatives.iter().map(|&index| title(index)).collect();
        let query = &data.queries()[pair.query].text;
        println!("{query}\n  not {negatives:?}");
    }
    assert!(mined.rows.iter().all(|pair| !pair.negatives.contains(&pair.document)));
    Ok(())
}

#[test]
fn no_positive_is_mined() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
