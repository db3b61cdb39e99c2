//! The model card: what a stranger who finds the model folder wants to know.

use std::collections::HashSet;
use std::fmt::Write;

use samtone_loss::Similarity;
use samtone_model::Side;

use crate::config::{Configuration, ExperimentConfig};
use crate::run::prepare::TrainSet;
use crate::run::summary::{Metrics, Summary};

/// What a card tells beside the configuration.
pub(crate) struct Card<'a> {
    /// Resolved.
    pub(crate) config: &'a ExperimentConfig,
    /// What it changed of the model that the training started from, a line each.
    pub(crate) changed: &'a [String],
    pub(crate) train: &'a [TrainSet],
    pub(crate) summary: &'a Summary,
    /// Numbers in all parameters, a shared one counted once.
    pub(crate) parameters: usize,
    /// Those of them that were trained.
    pub(crate) trained: usize,
    /// Dimensions of an embedding.
    pub(crate) dim: usize,
    /// How the run was started.
    pub(crate) command: &'a str,
}

impl Card<'_> {
    /// The card as Markdown, with the front matter that model hubs read.
    pub(crate) fn render(&self) -> String {
        let Self { config, parameters, trained, dim, .. } = self;
        let model = &config.model;
        let start = match &model.path {
            Some(path) => format!("the weights of `{}`", path.display()),
            None => "random weights".into(),
        };
        let sections = [
            FRONT_MATTER.to_owned(),
            format!(
                "# A dual encoder for text retrieval\n\nQueries and documents to vectors of {dim} dimensions, compared by {}.\nTrained with samtone {} from {start}: {parameters} parameters{}, `{}` towers, {} pooling.\n{}",
                match self.similarity() {
                    Similarity::Cosine => "cosine",
                    Similarity::Dot => "their dot product",
                },
                env!("CARGO_PKG_VERSION"),
                if trained < parameters {
                    format!(", {trained} of them trained")
                } else {
                    String::new()
                },
                model.sharing.unwrap_or_default(),
                name(&model.pooling),
                self.changes(),
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

    fn similarity(&self) -> Similarity {
        self.config.loss.similarity.unwrap_or_default()
    }

    /// What is no longer as it was in the model that the training started from.
    fn changes(&self) -> String {
        let mut out = String::new();
        if !self.changed.is_empty() {
            out.push_str("\nChanged from where it started:\n\n");
        }
        for change in self.changed {
            let _ = writeln!(out, "- {change}");
        }
        out
    }

    fn usage(&self) -> String {
        let model = &self.config.model;
        let variables = ["queries", "documents"];
        let lengths = [model.query_max_len, model.document_max_len].map(Option::unwrap_or_default);
        let mut load = String::new();
        let is_siamese = model.sharing.unwrap_or_default().is_siamese();
        if is_siamese && lengths[0] == lengths[1] {
            load += "queries = documents = SentenceTransformer(\"path/to/this/folder\")\n";
        } else {
            for (side, variable) in Side::ALL.into_iter().zip(variables) {
                let folder = if is_siamese { String::new() } else { format!("/{}", side.name()) };
                let _ = writeln!(
                    load,
                    "{variable} = SentenceTransformer(\"path/to/this/folder{folder}\")"
                );
            }
        }
        if is_siamese && lengths[0] != lengths[1] {
            // The format has one length a folder.
            for (length, variable) in lengths.into_iter().zip(variables) {
                let _ = writeln!(load, "{variable}.max_seq_length = {length}");
            }
        }
        let score = match self.similarity() {
            Similarity::Cosine => "cos_sim",
            Similarity::Dot => "dot_score",
        };
        format!(
            "## Use it\n\n```python\nfrom sentence_transformers import SentenceTransformer, util\n\n{load}asked = queries.encode([\"which well is dry?\"], prompt_name=\"query\")\nfound = documents.encode([\"The old well ran dry.\"], prompt_name=\"document\")\nprint(util.{score}(asked, found))\n```\n\n```sh\nsamtone eval --model path/to/this/folder --data DATA --split test\n```\n\n{}Queries are cut to {} tokens, documents to {}.\n{}",
            self.base(),
            lengths[0],
            lengths[1],
            self.shorter()
        )
    }

    /// What an adapter needs beside itself.
    fn base(&self) -> String {
        let model = &self.config.model;
        match (&model.adapter, &model.path) {
            (Some(_), Some(path)) => format!(
                "The folder holds adapters of low rank on `{}`, which must be there; sentence-transformers puts them on with `peft`.\n`samtone export --merge` writes a model that needs neither.\n",
                path.display()
            ),
            _ => String::new(),
        }
    }

    /// How to have fewer dimensions, where the training was for that.
    fn shorter(&self) -> String {
        let dims = self.config.shorter_dims(self.dim);
        let Some(first) = dims.first() else { return String::new() };
        format!(
            "Embeddings may be cut to their first {} numbers: `truncate_dim={first}` in sentence-transformers, `--dims {first}` in samtone.\n",
            dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
        )
    }

    fn training(&self) -> String {
        let Self { config, summary, .. } = self;
        let mut out = String::from(
            "## Training data\n\n| set | split | pairs | queries | documents |\n|---|---|---|---|---|\n",
        );
        for set in self.train {
            let (path, split, pairs) = (set.path.display(), &set.split, set.pairs.len());
            let queries: HashSet<usize> = set.pairs.iter().map(|pair| pair.query).collect();
            let (queries, documents) = (queries.len(), set.dataset.documents().len());
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
        let Summary { dev, test, dims, bm25, zero_shot, start, .. } = self.summary;
        let (split, _) = self.summary.judged();
        let zero_shot = zero_shot.iter().map(|(name, metrics)| (name.clone(), metrics));
        let own = [("dev", dev), ("test", test), ("test, by BM25", bm25)];
        let start = start.iter().map(|start| ("test, before the training", &start.test));
        let cut = dims.iter().rev();
        let cut = cut.map(|(dims, metrics)| (format!("{split}, {dims} dimensions"), metrics));
        let rows: Vec<(String, &Metrics)> = own
            .into_iter()
            .chain(start)
            .map(|(name, metrics)| (name.to_owned(), metrics))
            .chain(cut)
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
