//! The model card: what a stranger who finds the model folder wants to know.

use std::fmt::Write;

use samtone_model::Side;

use crate::config::ExperimentConfig;
use crate::prepare::TrainSet;
use crate::settings::Configuration;
use crate::summary::{Metrics, Summary};

/// What a card tells beside the configuration.
pub(crate) struct Card<'a> {
    pub(crate) config: &'a ExperimentConfig,
    pub(crate) train: &'a [TrainSet<'a>],
    pub(crate) summary: &'a Summary,
    /// Numbers in all parameters, a shared one counted once.
    pub(crate) parameters: usize,
    /// Dimensions of an embedding.
    pub(crate) dim: usize,
    /// How the run was started.
    pub(crate) command: &'a str,
}

impl Card<'_> {
    /// The card as Markdown, with the front matter that model hubs read.
    pub(crate) fn render(&self) -> String {
        let Self { config, parameters, dim, .. } = self;
        let model = &config.model;
        let start = match &model.path {
            Some(path) => format!("the weights of `{}`", path.display()),
            None => "random weights".into(),
        };
        let sections = [
            FRONT_MATTER.to_owned(),
            format!(
                "# A dual encoder for text retrieval\n\nQueries and documents to vectors of {dim} dimensions, compared by cosine.\nTrained with samtone {} from {start}: {parameters} parameters, `{}` towers, {} pooling.\n",
                env!("CARGO_PKG_VERSION"),
                model.sharing,
                name(&model.pooling),
            ),
            self.usage(),
            self.training(),
            self.metrics(),
            format!(
                "## How it was made\n\n```sh\n{}\n```\n\nThe configuration, key by key:\n\n```toml\n{}```\n",
                self.command,
                config.to_toml()
            ),
        ];
        sections.join("\n")
    }

    fn usage(&self) -> String {
        let model = &self.config.model;
        let load = if model.sharing.is_siamese() {
            "queries = documents = SentenceTransformer(\"path/to/this/folder\")".to_owned()
        } else {
            Side::ALL
                .map(|side| {
                    let variable = if side == Side::Query { "queries" } else { "documents" };
                    format!(
                        "{variable} = SentenceTransformer(\"path/to/this/folder/{}\")",
                        side.name()
                    )
                })
                .join("\n")
        };
        format!(
            "## Use it\n\n```python\nfrom sentence_transformers import SentenceTransformer, util\n\n{load}\nasked = queries.encode([\"which well is dry?\"], prompt_name=\"query\")\nfound = documents.encode([\"The old well ran dry.\"], prompt_name=\"document\")\nprint(util.cos_sim(asked, found))\n```\n\n```sh\nsamtone eval --model path/to/this/folder --data DATA --split test\n```\n\nQueries are cut to {} tokens, documents to {}.\n",
            model.query_max_len, model.document_max_len
        )
    }

    fn training(&self) -> String {
        let Self { config, summary, .. } = self;
        let mut out = String::from(
            "## Training data\n\n| set | split | pairs | queries | documents |\n|---|---|---|---|---|\n",
        );
        for set in self.train {
            let (path, split, pairs) = (set.path.display(), set.split, set.pairs.len());
            let (queries, documents) = (set.dataset.queries().len(), set.dataset.documents().len());
            let _ = writeln!(out, "| {path} | {split} | {pairs} | {queries} | {documents} |");
        }
        let mut objective = format!("the `{}` loss", config.loss_name());
        if let Some(stage) = &config.second_stage {
            let _ = write!(
                objective,
                ", then `{}` for the last {:.0} % of the steps",
                stage.loss.preset.unwrap_or_default(),
                100.0 * stage.share
            );
        }
        if let Some(matryoshka) = &config.matryoshka {
            let _ = write!(objective, ", at {:?} dimensions", matryoshka.dims);
        }
        if let Some(distillation) = &config.distillation {
            let _ = write!(
                objective,
                ", with {} distillation at weight {}",
                name(&distillation.loss),
                distillation.weight
            );
        }
        let _ = write!(
            out,
            "\n{} steps of {} pairs under {objective}, temperature {}, seed {}.\n",
            summary.steps, config.train.batch_size, summary.temperature, summary.seed
        );
        if let Some(best) = &summary.best {
            let _ = writeln!(
                out,
                "The model is that of step {}, the best by {} on the dev set ({:.4}).",
                best.step, best.metric, best.value
            );
        }
        out
    }

    fn metrics(&self) -> String {
        let Summary { dev, test, bm25, zero_shot, .. } = self.summary;
        let zero_shot = zero_shot.iter().map(|(name, metrics)| (&**name, metrics));
        let rows: Vec<(&str, &Metrics)> = [("dev", dev), ("test", test), ("test, by BM25", bm25)]
            .into_iter()
            .chain(zero_shot)
            .filter(|(_, metrics)| !metrics.is_empty())
            .collect();
        if rows.is_empty() {
            return "## Results\n\nIt was judged on nothing.\n".into();
        }
        let names = &self.config.eval.metrics;
        let mut out = format!("## Results\n\n| | {} |\n|---|", names.join(" | "));
        out.push_str(&"---|".repeat(names.len()));
        for (row, metrics) in rows {
            let values: Vec<String> = names
                .iter()
                .map(|name| metrics.get(name).map_or_else(|| "–".into(), |x| format!("{x:.4}")))
                .collect();
            let _ = write!(out, "\n| {row} | {} |", values.join(" | "));
        }
        out.push('\n');
        out
    }
}

const FRONT_MATTER: &str = "---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- feature-extraction
- sentence-similarity
- samtone
---
";

/// A unit variant's name as the configuration spells it.
fn name(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).ok();
    value.and_then(|value| value.as_str().map(String::from)).unwrap_or_default()
}
