//! When, where and how a run was made.

use anyhow::Context;
use samtone_report::{KeyValues, Section};
use samtone_train::run::Environment;

use crate::run_files::RunFiles;
use crate::words::{bytes, count, date, duration, percent};

/// Dates, machine, sums of what was read, and the configuration.
pub(super) fn section(run: &RunFiles) -> anyhow::Result<Section> {
    let mut section = Section::new("Record").figure(run_figure(run));
    if let Some(environment) = &run.environment {
        section = section.figure(machine(environment));
    }
    if !run.identity.changed.is_empty() {
        let figure = KeyValues::new("Changed from where it started");
        section = section.figure(run.identity.changed.iter().fold(figure, |figure, change| {
            let (key, values) = change.split_once(": ").unwrap_or((change, ""));
            figure.row(key.trim_matches('`'), values)
        }));
    }
    let read = KeyValues::new("What it read").description("BLAKE3 sums, of identity.json.");
    let read = run
        .identity
        .inputs
        .iter()
        .fold(read, |read, (name, sum)| read.copied_row(name, short(sum), sum));
    Ok(section.figure(read).figure(configuration(run)?))
}

fn run_figure(run: &RunFiles) -> KeyValues {
    let mut figure = KeyValues::new("Run");
    // However it was named.
    let folder = std::path::absolute(&run.folder).unwrap_or_else(|_| run.folder.clone());
    let folder = folder.display().to_string();
    figure = figure.copied_row("run folder", &folder, &folder);
    if let Some(origin) = &run.origin {
        figure = figure.row("begun", date(origin.began));
    }
    if let Some(ended) = run.environment.as_ref().and_then(|environment| environment.ended) {
        figure = figure.row("ended", date(ended));
    }
    if let Some(origin) = &run.origin {
        let commands = origin.commands();
        figure = figure.copied_row("command", &commands, &commands).copied_row(
            "working folder",
            &origin.folder,
            &origin.folder,
        );
        if let Some(commit) = &origin.commit {
            let changed = if commit.ends_with("-dirty") { ", files changed since" } else { "" };
            let shown = format!("{}{changed}", short(commit.trim_end_matches("-dirty")));
            figure = figure.copied_row("commit", shown, commit);
        }
    }
    if let Some(environment) = &run.environment {
        figure = figure
            .row("duration, evaluations included", duration(environment.total_seconds))
            .row("in training steps", duration(environment.train_seconds))
            .row("processes, one after the other", environment.legs);
    }
    figure
        .row(
            "steps",
            count(run.summary.as_ref().map_or(run.identity.steps, |summary| summary.steps)),
        )
        .row("pairs whose activations exist at once", count(run.identity.chunk))
}

fn machine(environment: &Environment) -> KeyValues {
    let Environment { padded_share, pairs_per_second, tokens_per_second, .. } = *environment;
    let mut figure = KeyValues::new("Machine")
        .row("backend", &environment.backend)
        .row("devices", environment.devices)
        .row("parameters", count(environment.parameters))
        .row("pairs a second", format!("{pairs_per_second:.1}"))
        .row("tokens a second", format!("{tokens_per_second:.0}"))
        .row("padding among the computed tokens", percent(padded_share));
    if let Some(peak) = environment.peak_rss_bytes {
        figure = figure.row("most memory held", bytes(peak));
    }
    if let Some(processor) = &environment.processor {
        figure = figure.row("processor", processor);
    }
    figure = figure
        .row("threads", environment.threads)
        .row("platform", &environment.platform)
        .row("samtone", &environment.samtone);
    environment.versions.iter().fold(figure, |figure, (name, version)| figure.row(name, version))
}

/// Every key, those first that were given another value than their default.
fn configuration(run: &RunFiles) -> anyhow::Result<KeyValues> {
    let config = serde_json::to_value(&run.config).context("cannot show the configuration")?;
    let figure = KeyValues::from_json("Configuration", &config);
    let Some(origin) = &run.origin else {
        return Ok(figure.description(
            "Every key as resolved, config.toml in the run folder; a dash is no value.",
        ));
    };
    let is_given = |name: &str| origin.given.iter().any(|given| given == name);
    Ok(figure.mark("changed", is_given).description(
        "Every key as resolved, config.toml in the run folder; a dash is no value. Marked are those that \
         were given another value than their default.",
    ))
}

/// The first characters of a hash.
fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}
