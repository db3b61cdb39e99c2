//! `samtone infuse`.

use std::path::Path;

use samtone_skill::{InfuseConfig, InfuseSummary};
use samtone_train::run::Environment;

use super::qa::see_through;
use crate::job;
use crate::output::{Format, table};
use crate::runner::RunArgs;
use crate::skill_report;

/// Infuse the triples of a knowledge graph into a T5, and ask what it knows (SKILL).
///
/// With nothing given: a small T5 on the embedded world, fine-tuned on questions with and without
/// infusion.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone infuse
  samtone infuse --config graph.toml --set model.path=t5-small --run-dir runs/infused")]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunArgs,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    job::alone("infuse")?;
    see_through::<InfuseConfig>(&args.run, "infuse", format, skill_report::write_infusion, text)
}

fn text(folder: &Path, summary: &InfuseSummary, environment: &Environment) -> String {
    let mut text = format!(
        "{} triples, of which the model writes {:.1} % of the masked objects\n",
        summary.triples,
        100.0 * summary.facts
    );
    if !summary.exact_match.is_empty() {
        let splits: Vec<&String> = summary.questions.keys().collect();
        let mut header = vec!["exact match"];
        header.extend(splits.iter().map(|split| split.as_str()));
        let rows = summary.exact_match.iter().map(|(name, values)| {
            let values = splits.iter().map(|split| {
                values.get(*split).map_or_else(|| "–".into(), |value| format!("{value:.4}"))
            });
            std::iter::once(name.clone()).chain(values).collect::<Vec<String>>()
        });
        text += &table(&header, rows);
        text.push('\n');
    }
    text + &format!(
        "{} parameters, {} steps of infusion in {:.0} s, {:.0} examples/s, {:.0} s in all on {}\nrun folder: {} (see its report.html)\n",
        environment.parameters,
        summary.steps,
        environment.train_seconds,
        environment.pairs_per_second,
        environment.total_seconds,
        environment.backend,
        folder.display()
    )
}
