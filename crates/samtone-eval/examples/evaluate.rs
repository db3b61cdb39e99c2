//! A run judged from files, as trec_eval does it.
//!
//! `cargo run -p samtone-eval --example evaluate -- RUN QRELS`

#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use std::path::Path;

use samtone_eval::{Convention, Metric, Qrels, Run, evaluate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [run, qrels] = arguments.as_slice() else { return Err("expected RUN QRELS".into()) };
    judge(run.as_ref(), qrels.as_ref())
}

fn judge(run: &Path, qrels: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let (run, qrels) = (Run::read(run)?, Qrels::read(qrels)?);
    let names = ["ndcg@10", "mrr@10", "recall@100"];
    let metrics: Vec<Metric> = names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let found = evaluate(&qrels, &run, &metrics, Convention::default())?;
    for (name, mean) in names.iter().zip(found.means()) {
        println!("{name} {mean:.4}");
    }
    Ok(())
}

#[test]
fn files_are_judged() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let (run, qrels) = (folder.path().join("run.trec"), folder.path().join("qrels.txt"));
    std::fs::write(&run, "q1 Q0 d2 1 0.9 me\nq1 Q0 d1 2 0.8 me\n")?;
    std::fs::write(&qrels, "q1 0 d1 2\nq1 0 d2 1\n")?;
    judge(&run, &qrels)
}
