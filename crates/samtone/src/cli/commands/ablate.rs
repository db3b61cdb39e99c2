//! `samtone ablate`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use samtone_eval::Metric;
use samtone_report::{
    Better, Estimate, KeyValues, MetricTable, Report, Section, Table, TableCell, TableColumn,
};
use samtone_train::TrainError;
use samtone_train::ablation::{Ablation, AblationResult, GridRun, cells, table as compared};
use samtone_train::config::{Configuration, ExperimentConfig, Override};

use crate::device::DeviceArgs;
use crate::error::Usage;
use crate::job;
use crate::output::{Format, say, table};
use crate::run_files::RunFiles;
use crate::run_report::{self, SIGNIFICANT, signed};
use crate::runner::Runner;
use crate::runs_report;

/// Train losses × sharing × seeds and compare them in one table.
///
/// The grid stands under `[ablate]` in the configuration. Run the same command again to go on after
/// an interruption: finished runs are kept, the interrupted one resumes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone ablate --config grid.toml --run-dir runs/grid
  samtone ablate --config grid.toml --run-dir runs/grid --set train.steps=500")]
pub(crate) struct Args {
    /// The experiment, a TOML file with an `[ablate]` table.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Override one key, as in `--set train.steps=200`; may be repeated.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// The folder of the grid's runs and its table; `runs/<name of the file>-ablation` if absent.
    #[arg(long, value_name = "FOLDER")]
    run_dir: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    job::alone("ablate")?;
    let config = ExperimentConfig::load(&args.config, &Override::set_all(&args.set))?;
    if config.ablate.is_none() {
        let message = format!("`{}` has no `[ablate]` table", args.config.display());
        let hint =
            "`[ablate]` holds `losses`, `sharing` and `seeds`; `samtone train` trains one run";
        return Err(Usage::new(message).with_hint(hint).into());
    }
    if config.data.test_set().or(config.data.dev_set()).is_none() {
        return Err(Usage::new("the grid has no test or dev set to compare its runs on").into());
    }
    let folder = args.run_dir.clone().unwrap_or_else(|| default_folder(&args.config));
    claim(&folder, &config)?;
    let command = super::command_line();
    let cells = cells(&config, &folder);
    for (place, cell) in cells.iter().enumerate() {
        let name = cell.folder.strip_prefix(&folder).unwrap_or(&cell.folder).display();
        say(format_args!("── {name} ({} of {})", place + 1, cells.len()));
        if cell.is_done() {
            say("done before");
        } else {
            train(cell, args, &command)?;
        }
    }
    let found = compared(&config, &cells)?;
    let json = serde_json::to_vec_pretty(&found).context("cannot write the table as JSON")?;
    write(&folder.join("ablation.json"), &json)?;
    report(&folder, &config, &cells, &found, &command)?;
    format.print(&found, |found| text(found, &folder))
}

/// Makes `folder` this grid's, or finds that it is.
fn claim(folder: &Path, config: &ExperimentConfig) -> anyhow::Result<()> {
    let path = folder.join("config.toml");
    let own = config.to_toml();
    match fs::read_to_string(&path) {
        Ok(found) if found == own => return Ok(()),
        Ok(_) => {
            let message = format!("`{}` holds another grid", folder.display());
            let hint = "give another `--run-dir`, or the configuration that the grid began with";
            return Err(Usage::new(message).with_hint(hint).into());
        }
        Err(_) => {}
    }
    fs::create_dir_all(folder)
        .map_err(|source| TrainError::Write { path: folder.to_owned(), source })?;
    write(&path, own.as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    samtone_files::replace(path, bytes)
        .with_context(|| format!("cannot write `{}`", path.display()))
}

fn default_folder(config: &Path) -> PathBuf {
    let name = config.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Path::new("runs").join(format!("{name}-ablation"))
}

fn train(cell: &GridRun, args: &Args, command: &str) -> anyhow::Result<()> {
    let runner = Runner {
        config: &cell.config,
        folder: &cell.folder,
        resume: cell.is_begun(),
        backends: &[args.device.backend],
        job: None,
        command,
        show: Default::default(),
    };
    runner.run()?;
    run_report::write_or_warn(&cell.folder);
    Ok(())
}

fn report(
    folder: &Path,
    config: &ExperimentConfig,
    cells: &[GridRun],
    found: &Ablation,
    command: &str,
) -> anyhow::Result<()> {
    let mut metrics = MetricTable::new(
        format!("Mean over seeds on {}", found.split),
        &found.metrics,
    )
    .ranked_by(found.metrics.iter().filter(|name| is_quality(name)))
    .description(format!(
        "The range is one standard deviation over the seeds to either side. Bold is the best of a \
                 column; a star: it differs from {} under the same sharing (p < 0.05 of the paired \
                 randomisation test over queries, after Holm's correction).",
        found.baseline
    ));
    for row in &found.rows {
        let values = found.metrics.iter().map(|metric| {
            let AblationResult { mean, sd, p_holm, .. } = row.results[metric];
            let value = sd.map_or(Estimate::new(mean), |sd| {
                Estimate::with_interval(mean, mean - sd, mean + sd)
            });
            if p_holm.is_some_and(|p| p < SIGNIFICANT) { value.significant() } else { value }
        });
        let name = format!("{}, {}", row.loss, row.sharing);
        let values: Vec<Estimate> = values.collect();
        metrics = if row.loss == found.baseline {
            metrics.baseline(name, values)
        } else {
            metrics.row(name, values)
        };
    }
    if !found.bm25.is_empty() {
        let values = found.metrics.iter();
        let values = values.map(|metric| found.bm25.get(metric).copied().unwrap_or(f64::NAN));
        metrics = metrics.baseline("BM25", values.collect::<Vec<f64>>());
    }
    let config = serde_json::to_value(config).context("cannot show the configuration")?;
    let seeds: Vec<String> = found.seeds.iter().map(u64::to_string).collect();
    let report = Report::new("Ablation")
        .summary(format!(
            "{} pairs of a loss and a way of sharing, with {} {}; p-values of the paired randomisation test over queries, after Holm's correction.",
            found.rows.len(),
            seeds_in_words(found),
            seeds.join(", ")
        ))
        .command(command)
        .section(Section::new("Results").figure(metrics).figure(against(found)));
    let files = cells.iter().map(|cell| RunFiles::read(&cell.folder)).collect::<Result<_, _>>()?;
    let runs = super::report::named(files, &folder.join("report.html"));
    let sections = runs_report::sections(&runs)?.into_iter();
    let report = sections.fold(report, Report::section).section(
        Section::new("Configuration").figure(KeyValues::from_json("Configuration", &config)),
    );
    report.write_figures(folder.join("figures"))?;
    report.write(folder.join("report.html"))?;
    Ok(())
}

/// Differences to the baseline, a row a loss and sharing.
fn against(found: &Ablation) -> Table {
    let columns = ["loss", "sharing"].into_iter().map(TableColumn::new);
    let metrics = found.metrics.iter().flat_map(|metric| {
        let column = TableColumn::new(metric);
        let column = if is_quality(metric) { column.better(Better::Higher) } else { column };
        [column, TableColumn::new("p (Holm)")]
    });
    let title = format!("Against {}", found.baseline);
    let table = Table::new(title, columns.chain(metrics))
        .description("Mean differences over the seeds; bold is the largest gain, a star p < 0.05.");
    let rows = found.rows.iter().filter(|row| row.loss != found.baseline).map(|row| {
        let cells = found.metrics.iter().flat_map(|metric| {
            let AblationResult { difference, p_holm, .. } = row.results[metric];
            let cell =
                difference.map_or_else(TableCell::default, |d| TableCell::shown(signed(d), d));
            let p =
                p_holm.map_or_else(TableCell::default, |p| TableCell::shown(format!("{p:.4}"), p));
            [if p_holm.is_some_and(|p| p < SIGNIFICANT) { cell.significant() } else { cell }, p]
        });
        let names = [TableCell::text(&row.loss), TableCell::text(row.sharing.to_string())];
        names.into_iter().chain(cells).collect::<Vec<_>>()
    });
    rows.fold(table, Table::row)
}

fn is_quality(metric: &str) -> bool {
    metric.parse().is_ok_and(|metric: Metric| metric.is_quality())
}

/// Mean ± deviation, with the p-value where there is one.
fn value(result: &AblationResult) -> String {
    let mut text = format!("{:.4}", result.mean);
    if let Some(sd) = result.sd {
        text.push_str(&format!(" ± {sd:.4}"));
    }
    if let Some(p) = result.p_holm {
        text.push_str(&format!(" (p {p:.3})"));
    }
    text
}

fn seeds_in_words(found: &Ablation) -> &'static str {
    if found.seeds.len() == 1 { "seed" } else { "seeds" }
}

fn text(found: &Ablation, folder: &Path) -> String {
    let mut header = vec![found.split, "sharing"];
    header.extend(found.metrics.iter().map(String::as_str));
    let mut rows: Vec<Vec<String>> = found
        .rows
        .iter()
        .map(|row| {
            let values = found.metrics.iter().map(|metric| value(&row.results[metric]));
            [row.loss.clone(), row.sharing.to_string()].into_iter().chain(values).collect()
        })
        .collect();
    if !found.bm25.is_empty() {
        let values = found.metrics.iter().map(|metric| {
            found.bm25.get(metric).map_or_else(|| "–".into(), |value| format!("{value:.4}"))
        });
        rows.push(["bm25".into(), String::new()].into_iter().chain(values).collect());
    }
    format!(
        "{}\nmean ± standard deviation over {} {}; p against {} (paired randomisation over queries, Holm)\nfolder: {} (see its report.html)\n",
        table(&header, rows),
        found.seeds.len(),
        seeds_in_words(found),
        found.baseline,
        folder.display()
    )
}
