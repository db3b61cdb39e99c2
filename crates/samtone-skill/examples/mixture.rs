//! What a T5 learns a knowledge graph from: triples with one entity masked.
//!
//! `cargo run -p samtone-skill --example mixture`

#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use samtone_data::embedded::World;
use samtone_skill::{ExampleSource, MaskForm, Mixture, Records};
use samtone_text::{Key, TextTokenizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let world = World::generate(0, 200);
    let triples = world.triples().to_vec();
    let texts: Vec<String> = triples
        .iter()
        .map(|triple| format!("{}, {}, {}", triple.subject, triple.relation, triple.object))
        .collect();
    let tokenizer = TextTokenizer::train_text_to_text(&texts, 900)?;
    let records = Records::in_memory(triples);
    let parts = vec![(1.0, ExampleSource::Triples { records, object_share: 0.5 })];
    let mixture = Mixture::new(parts, MaskForm::Literal, [32, 16], &tokenizer, Key::new(0))?;
    for number in 0..3 {
        let pair = mixture.example(number, &tokenizer)?;
        let (input, target) = (tokenizer.decode(&pair.input)?, tokenizer.decode(&pair.target)?);
        println!("{input} -> {target}");
    }
    Ok(())
}

#[test]
fn examples_are_drawn() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
