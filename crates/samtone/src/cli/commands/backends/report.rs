//! `report.html` of `samtone backends`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use samtone_report::{Curve, KeyValues, LearningCurves, Report, Section};
use samtone_train::config::ExperimentConfig;

use super::found::{Comparison, EMBEDDINGS, GRADIENTS, LOSSES, STEPS, rows};

/// Writes the page into `folder`.
pub(super) fn write(
    folder: &Path,
    config: &ExperimentConfig,
    found: &Comparison,
    command: &str,
) -> anyhow::Result<()> {
    let reference = &found.backends[0];
    let points = |values: &[f64]| -> Vec<(f64, f64)> {
        values.iter().enumerate().map(|(step, &value)| ((step + 1) as f64, value)).collect()
    };
    let mut losses = LearningCurves::new("Loss", "step", "loss (nats)");
    let mut drift = LearningCurves::new("Loss drift", "step", "difference (nats)")
        .description(format!("The loss less that on {}.", found.reference));
    for ran in &found.backends {
        losses = losses.curve(Curve::new(&ran.backend, points(&ran.losses)));
        if ran.difference.is_some() {
            let pairs = ran.losses.iter().zip(&reference.losses);
            let difference: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
            drift = drift.curve(Curve::new(&ran.backend, points(&difference)));
        }
    }
    let (header, cells) = rows(found);
    let overview = cells.iter().map(|cells| {
        let title = format!("{} on {}", config.loss_name(), cells[0]);
        header
            .iter()
            .zip(cells)
            .skip(1)
            .fold(KeyValues::new(title), |figure, (name, cell)| figure.row(name, cell))
    });
    let overview = overview.fold(Section::new("Backends"), Section::figure).text(format!(
        "Differences are against {}: of the first step's gradients the worst part's, relative to its norm (at most {GRADIENTS:.0e}); of the losses the largest of the first {STEPS} steps, in nats (at most {LOSSES:.0e}); of the embeddings of one trained model the largest (at most {EMBEDDINGS:.0e}). Speed leaves the first fifth of the steps out; memory is the host's.",
        found.reference
    ));

    let differences: Vec<_> =
        found.backends.iter().filter_map(|ran| Some((ran, ran.difference.as_ref()?))).collect();
    let parts: BTreeSet<&String> =
        differences.iter().flat_map(|(_, difference)| difference.gradients.keys()).collect();
    let mut gradients = Section::new("Gradients of the first step, by part");
    for (ran, difference) in differences {
        let mut figure = KeyValues::new(format!("{} against {}", ran.backend, found.reference));
        for part in &parts {
            let value = difference.gradients.get(*part).copied().unwrap_or(f64::NAN);
            figure = figure.row(part.as_str(), format!("{value:.2e}"));
        }
        gradients = gradients.figure(figure);
    }
    let config = serde_json::to_value(config).context("cannot show the configuration")?;
    Report::new("One experiment on several backends")
        .summary("The same weights, batches and dropout masks on every backend.")
        .command(command)
        .section(overview)
        .section(Section::new("Training").figure(losses).figure(drift))
        .section(gradients)
        .section(Section::new("Setting").figure(KeyValues::from_json("Configuration", &config)))
        .write(folder.join("report.html"))?;
    Ok(())
}
