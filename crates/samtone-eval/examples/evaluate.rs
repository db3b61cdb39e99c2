//! `samtone eval --run --qrels` without the rest of `samtone`: builds in seconds.
//!
//! `cargo run --release -p samtone-eval --example evaluate -- eval --run R --qrels Q --metrics M,…
//! [--compat C] [--per-query] [--format json]`

use std::collections::HashMap;
use std::error::Error;

use samtone_eval::{Convention, EvaluationJson, Metric, Qrels, Run, evaluate};

fn main() -> Result<(), Box<dyn Error>> {
    let mut options: HashMap<String, String> = HashMap::new();
    let mut arguments = std::env::args().skip(1).peekable();
    while let Some(argument) = arguments.next() {
        if let Some(name) = argument.strip_prefix("--") {
            let value = arguments.next_if(|next| !next.starts_with("--")).unwrap_or_default();
            options.insert(name.to_owned(), value);
        }
    }
    let option = |name: &str| options.get(name).map(String::as_str);
    let wanted = |name: &str| option(name).ok_or_else(|| format!("--{name} is needed"));
    let metrics: Vec<Metric> = option("metrics")
        .unwrap_or("ndcg@10")
        .split(',')
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let convention: Convention = option("compat").unwrap_or("trec9").parse()?;
    let (run, qrels) = (wanted("run")?, wanted("qrels")?);
    let (run, qrels) = rayon::join(|| Run::read(run), || Qrels::read(qrels));
    let found = evaluate(&qrels?, &run?, &metrics, convention)?;
    let json = EvaluationJson::new(&found, option("per-query").is_some());
    serde_json::to_writer(std::io::stdout().lock(), &json)?;
    Ok(())
}
