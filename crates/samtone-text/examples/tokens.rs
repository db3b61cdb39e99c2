//! Texts to token ids and back: train a vocabulary, encode, pad for an encoder, decode.
//!
//! `cargo run -p samtone-text --example tokens`

#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use samtone_text::{TextTokenizer, TokenBatch};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let texts = ["a well holds water", "water runs", "a well runs dry"];
    let tokenizer = TextTokenizer::train_wordpiece(&texts, 60, true)?;
    let rows = tokenizer.encode_batch(&texts, 16)?;
    let batch = TokenBatch::pad(&rows, tokenizer.pad_id());
    for row in &rows {
        println!("{row:?} = {}", tokenizer.decode(row)?);
    }
    assert_eq!(batch.batch(), texts.len());
    Ok(())
}

#[test]
fn texts_come_back() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
