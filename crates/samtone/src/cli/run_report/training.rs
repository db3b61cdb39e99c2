//! The course of trainings.

use samtone_report::{Curve, LearningCurves, Section};
use samtone_train::run::StepRecord;

use crate::run_files::{RunFiles, Training};

/// The course of a run's training, and of its baseline's.
pub(super) fn section(run: &RunFiles) -> Section {
    let trainings = &run.trainings;
    let mut section = Section::new("Training").figure(loss_curves(trainings));
    let summary = run.summary.as_ref();
    let metric = run.config.eval.leading().map(|metric| metric.to_string());
    if let Some(metric) = &metric
        && let Some(mut figure) = dev_curves(metric, trainings)
    {
        let start = summary.and_then(|summary| summary.start.as_ref()?.on_the_way().get(metric));
        if let Some(&value) = start {
            figure.curves.iter_mut().for_each(|curve| curve.points.insert(0, (0.0, value)));
        }
        if let Some(best) = summary.and_then(|summary| summary.best.as_ref()) {
            figure = figure.reference(best.step as f64);
            figure.description +=
                &format!(" The broken line marks step {}, the best by {}.", best.step, best.metric);
        }
        section = section.figure(figure);
    }
    let norm = curves("Gradient norm", "norm before clipping", trainings, |s| s.gradient_norm);
    section = section
        .figure(norm.description("Over all parameters."))
        .figure(curves("Learning rate", "learning rate", trainings, |s| s.lr).exact());
    if trainings.iter().any(|(_, steps)| varies(steps, |step| step.temperature)) {
        section = section.figure(curves("Temperature", "τ", trainings, |s| s.temperature).exact());
    }
    let pairs = rates("Pairs a second", "pairs/s", trainings, |step| step.pairs_per_second);
    let tokens = rates("Tokens a second", "tokens/s", trainings, |step| step.tokens_per_second);
    section = section.figure(pairs).figure(tokens.description("Padding not counted."));
    if trainings.iter().any(|(_, steps)| steps.iter().any(|step| step.padded_share > 0.0)) {
        let figure = curves("Padding", "share of the tokens (%)", trainings, |step| {
            100.0 * step.padded_share
        });
        section = section.figure(figure.description("Since the run began.").exact());
    }
    let memory = |step: &StepRecord| step.rss_bytes.map_or(f64::NAN, |bytes| bytes as f64 / 1e9);
    if trainings.iter().any(|(_, steps)| steps.iter().any(|step| step.rss_bytes.is_some())) {
        let figure = curves("Memory", "GB", trainings, memory).exact();
        section =
            section.figure(figure.description("What the process holds in the machine's memory."));
    }
    section
}

fn varies(steps: &[StepRecord], value: fn(&StepRecord) -> f64) -> bool {
    steps.windows(2).any(|pair| value(&pair[0]) != value(&pair[1]))
}

/// The losses of some trainings over their steps.
pub(crate) fn loss_curves(trainings: &[Training]) -> LearningCurves {
    curves("Loss", "loss (nats)", trainings, |step| step.loss).description(
        "Mean over the steps since the one before. Losses with other candidates are other numbers: \
         compare their course, not their height.",
    )
}

/// A dev metric of some trainings over their steps, if it was taken on the way.
pub(crate) fn dev_curves(metric: &str, trainings: &[Training]) -> Option<LearningCurves> {
    let judged = |(name, steps): &Training| {
        let judged = steps.iter().filter(|step| step.dev.contains_key(metric));
        (name.clone(), judged.cloned().collect::<Vec<_>>())
    };
    let judged: Vec<Training> =
        trainings.iter().map(judged).filter(|(_, steps)| !steps.is_empty()).collect();
    let value = |step: &StepRecord| step.dev[metric];
    let title = format!("{metric} on dev");
    (!judged.is_empty()).then(|| {
        curves(&title, metric, &judged, value).exact().description("At the evaluations on the way.")
    })
}

fn curves(
    title: &str,
    unit: &str,
    trainings: &[Training],
    value: impl Fn(&StepRecord) -> f64,
) -> LearningCurves {
    trainings.iter().fold(LearningCurves::new(title, "step", unit), |figure, (name, steps)| {
        let points = steps.iter().map(|step| (step.step as f64, value(step))).collect();
        figure.curve(Curve::new(name, points))
    })
}

/// What was done in a second between two logged steps; lines hold it since the run began.
fn rates(
    title: &str,
    unit: &str,
    trainings: &[Training],
    since_begin: fn(&StepRecord) -> f64,
) -> LearningCurves {
    let done = |step: &StepRecord| since_begin(step) * step.seconds;
    let figure = LearningCurves::new(title, "step", unit)
        .description("Between two logged steps, evaluations aside.");
    trainings.iter().fold(figure, |figure, (name, steps)| {
        let rate = |pair: &[StepRecord]| {
            let seconds = pair[1].seconds - pair[0].seconds;
            (pair[1].step as f64, (done(&pair[1]) - done(&pair[0])) / seconds)
        };
        let first = steps.first().map(|step| (step.step as f64, since_begin(step)));
        figure
            .curve(Curve::new(name, first.into_iter().chain(steps.windows(2).map(rate)).collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_between_two_lines() {
        let step = |step, seconds: f64, pairs: f64| StepRecord {
            step,
            seconds,
            pairs_per_second: pairs / seconds,
            ..StepRecord::default()
        };
        let steps = vec![step(1, 2.0, 8.0), step(10, 4.0, 80.0), step(20, 14.0, 160.0)];
        let figure = rates("t", "u", &[("a".into(), steps)], |step| step.pairs_per_second);
        // 8 in 2 s, 72 in 2 s, 80 in 10 s.
        assert_eq!(figure.curves[0].points, [(1.0, 4.0), (10.0, 36.0), (20.0, 8.0)]);
    }
}
