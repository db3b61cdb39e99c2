//! `samtone init`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use samtone_data::Dataset;
use samtone_model::{ModelFolder, Side};
use samtone_train::config::{EMBEDDED, EvalConfig, TrainConfig};
use samtone_train::run::load_data;
use serde::Serialize;

use crate::error::Failure;
use crate::output::Format;

/// Write a configuration for `samtone train`, with what there is to choose beside each key.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone init --data faq --model sentence-transformers/all-MiniLM-L6-v2 --out faq.toml")]
pub(crate) struct Args {
    /// The data: a folder in BEIR layout, a JSON Lines file of pairs, or `embedded`.
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// The model to start from: its folder, or its name in the Hugging Face cache; random weights if
    /// absent.
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// The file to write.
    #[arg(long, value_name = "FILE", default_value = "samtone.toml")]
    out: PathBuf,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Written<'a> {
    out: &'a Path,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    if args.out.exists() {
        let message = format!("`{}` exists already", args.out.display());
        return Err(Failure::new(message, "name another file with `--out`, or remove it").into());
    }
    let text = [data(&args.data)?, model(args.model.as_deref())?, rest()].concat();
    samtone_files::replace(&args.out, text.as_bytes())
        .with_context(|| format!("cannot write `{}`", args.out.display()))?;
    format.print(&Written { out: &args.out }, |written| {
        let out = written.out.display();
        format!("{out}\nnext: samtone plan --config {out}\n      samtone train --config {out}")
    })
}

/// A path as TOML spells it.
fn quoted(path: &Path) -> toml::Value {
    toml::Value::String(path.display().to_string())
}

/// `[data]`, by the splits that there are.
fn data(path: &Path) -> anyhow::Result<String> {
    let mut text = format!(
        "# samtone train --config THIS_FILE; every key: docs/configuration.md\n\n[data]\ntrain = {}\n",
        quoted(path)
    );
    if path.is_file() {
        let pairs = Dataset::load_pairs(path, "train")?.pairs("train").len();
        text += &format!(
            "# {pairs} pairs. A file is trained on alone; to judge the model, name folders:\n\
             # dev = \"FOLDER\"\n# test = \"FOLDER\"\n"
        );
        return Ok(text);
    }
    let dataset = if path == Path::new(EMBEDDED) {
        load_data(path, &[])?
    } else {
        let splits = Dataset::splits_in(path)?;
        Dataset::load(path, &splits.iter().map(String::as_str).collect::<Vec<_>>())?
    };
    let names: Vec<&str> = dataset.split_names().collect();
    text += &format!("# {} documents\n", dataset.documents().len());
    for (key, split) in [("train_split", "train"), ("dev_split", "dev"), ("test_split", "test")] {
        if names.contains(&split) {
            let (queries, pairs) = (dataset.queries_of(split).len(), dataset.pairs(split).len());
            text += &format!("{key} = \"{split}\" # {queries} queries, {pairs} pairs\n");
        } else {
            let others = names.join(", ");
            text += &format!(
                "{key} = \"\" # there is no split `{split}` (there are: {others}): `samtone split` makes one\n"
            );
        }
    }
    Ok(text)
}

/// `[model]`, with what the folder says.
fn model(path: Option<&Path>) -> anyhow::Result<String> {
    let Some(path) = path else {
        return Ok("\n[model]\n# From random weights, which a small data set teaches little: better name a folder.\n\
             # path = \"FOLDER\" # or a name in the Hugging Face cache: `samtone download`\nquery_max_len = 64\ndocument_max_len = 128\n"
            .into());
    };
    let folder = ModelFolder::open(path)?;
    let [query, document] = Side::ALL.map(|side| folder.max_tokens(side));
    let prompt = |text: &str| toml::Value::String(text.into());
    Ok(format!(
        "\n[model]\npath = {}\n\
         # What is absent stays as the folder has it; shorter texts train faster.\n\
         # query_max_len = {query}\n# document_max_len = {document}\n\
         # query_prompt = {}\n# document_prompt = {}\n\
         # sharing = \"sde\" # two towers: \"ade\", \"ade-ste\", \"ade-fte\", \"ade-spl\", \"ade-adapter\"\n",
        quoted(path),
        prompt(&folder.query.prompt),
        prompt(&folder.document.prompt)
    ))
}

/// The sections that are the same whatever the data.
fn rest() -> String {
    let TrainConfig { batch_size, bucket, weight_decay, .. } = TrainConfig::default();
    let EvalConfig { metrics, top_k, dev_documents, .. } = EvalConfig::default();
    format!(
        r#"
[loss]
preset = "samtone"    # others: "in-batch", "in-batch-both", "gte", "qwen3", ...: docs/configuration.md
# temperature = 0.05  # or {{ learn = true, init = 0.05 }}

[train]
epochs = 1.0
batch_size = {batch_size}       # more negatives; memory stays bounded, see `samtone plan`
# lr = 3e-5           # 5e-4 from random weights
# warmup = "10%"      # of the steps, or a number of steps
# hard_negatives = 0  # a row; as many as the data has, 7 at most, if absent
# weight_decay = {weight_decay}
# bucket = {bucket}         # sorts by length within so many batches; 0: not
# eval_every = 100    # steps between dev evaluations
# best_by = "ndcg@10" # the model is that of the best of them
# baseline = "in-batch" # the same model under another loss, for comparison

[eval]
metrics = {metrics:?}
# top_k = {top_k}
# dev_documents = {dev_documents} # evaluations on the way look in so many documents; 0: in all
"#
    )
}

#[cfg(test)]
mod tests {
    use samtone_data::embedded::World;
    use samtone_train::config::{Configuration, ExperimentConfig};

    use super::*;

    #[test]
    fn what_is_written_is_a_configuration_with_the_splits_that_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        World::generate(0, 200).save(&path).unwrap();
        std::fs::remove_file(path.join("qrels/dev.tsv")).unwrap();
        let text = [data(&path).unwrap(), model(None).unwrap(), rest()].concat();
        let config = ExperimentConfig::parse(&text, Path::new("samtone.toml"), &[]).unwrap();
        assert_eq!((&*config.data.dev_split, &*config.data.test_split), ("", "test"));
        assert!(text.contains("there is no split `dev` (there are: test, train)"), "{text}");
        assert!(data(Path::new(EMBEDDED)).unwrap().contains("test_split = \"test\" # "));
        // With every key that is only shown.
        let shown: String = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.contains(" = ") && !rest.contains("FOLDER") => rest,
                _ => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let shown = shown.replace("dev_split = \"\"", "dev_split = \"dev\"");
        ExperimentConfig::parse(&shown, Path::new("samtone.toml"), &[]).unwrap();
    }
}
