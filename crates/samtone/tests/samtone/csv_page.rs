//! `docs/from-csv-to-search.md`, word by word, on a file that is made here. The link beside this file is
//! that page, so that the package holds it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use samtone_data::embedded::World;

const PAGE: &str = include_str!("from-csv-to-search.md");

/// The lines of the page's `sh` blocks.
fn commands(page: &str) -> Vec<&str> {
    let blocks = page.split("```sh\n").skip(1);
    blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines()).collect()
}

/// A CSV as the page describes it, of the embedded world.
fn write_csv(path: &Path) {
    let world = World::generate(0, 300).dataset();
    let mut csv = String::from("id,question,answer,category\n");
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    for split in ["train", "dev", "test"] {
        for pair in world.pairs(split) {
            let (query, document) = (&world.queries()[pair.query], world.document(pair.document));
            let (question, answer) = (quoted(&query.text), quoted(document.text));
            writeln!(csv, "{},{question},{answer},lungs", query.id).unwrap();
        }
    }
    std::fs::write(path, csv).unwrap();
}

/// A model folder in the place of the one that the page downloads.
fn write_model(folder: &Path) {
    use burn::backend::Flex;
    let texts = ["who where what is the of a in", "how treated"];
    let tokenizer = samtone_text::TextTokenizer::train_wordpiece(&texts, 200, true).unwrap();
    let mut encoder = samtone_testing::model::one_layer_bert();
    encoder.vocab_size = tokenizer.vocab_size();
    let max_tokens = Some(encoder.max_positions);
    let config = samtone_testing::model::config(
        samtone_model::EncoderConfig::Bert(encoder),
        samtone_model::Sharing::Sde,
        samtone_model::Pooling::Mean,
    );
    let model = samtone_testing::model::model::<Flex>(&config, 0);
    let settings = samtone_model::SideSettings { max_tokens, ..Default::default() };
    let retriever =
        samtone_model::Retriever::new(model, tokenizer, [settings.clone(), settings]).unwrap();
    retriever.save(folder).unwrap();
}

#[test]
fn the_page_from_a_csv_to_an_answer_holds() {
    let folder = tempfile::tempdir().unwrap();
    write_csv(&folder.path().join("faq.csv"));
    write_model(&folder.path().join("sentence-transformers/all-MiniLM-L6-v2"));
    let commands = commands(PAGE);
    assert_eq!(commands.len(), 5, "{commands:?}");
    let binary = Path::new(env!("CARGO_BIN_EXE_samtone"));
    for command in commands {
        let path = format!("{}:{}", binary.parent().unwrap().display(), env!("PATH"));
        let run = Command::new("sh")
            .args(["-c", command])
            .current_dir(folder.path())
            .env("PATH", path)
            .output()
            .unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "{command}\n{out}\n{err}");
    }
    for made in ["runs/faq/report.html", "runs/faq/model/model.safetensors", "vectors/ids.txt"] {
        assert!(folder.path().join(made).is_file(), "{made}");
    }
}
