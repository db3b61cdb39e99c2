//! The trainings of runs over each other.

use samtone_report::{LearningCurves, Section};

use super::NamedRun;
use super::leaderboard::Judged;
use crate::run_files::Training;
use crate::run_report::{dev_curves, loss_curves};

/// Runs that stand out: as many as have colours.
const SHOWN: usize = 8;

/// The losses and the leading dev metric of all runs; of many, the best stand out.
pub(super) fn section(runs: &[NamedRun], own: Option<&Judged>) -> Section {
    let trainings: Vec<Training> =
        runs.iter().map(|run| (run.name.clone(), run.files.steps().to_vec())).collect();
    let metric = runs[0].files.config.eval.leading();
    let shown = best(runs.len(), |place| metric.and_then(|m| own?.cell(place, m).number));
    let stand_out = |mut figure: LearningCurves| {
        if shown.len() < runs.len() {
            for curve in &mut figure.curves {
                curve.is_muted = !shown.iter().any(|&place| runs[place].name == curve.name);
            }
            figure.description += " The best runs stand out, the others are grey.";
        }
        figure
    };
    let mut section = Section::new("Training").figure(stand_out(loss_curves(&trainings)));
    if let Some(figure) = metric.and_then(|m| dev_curves(&m.to_string(), &trainings)) {
        section = section.figure(stand_out(figure));
    }
    section
}

/// The places of the [`SHOWN`] best of `count` runs, by `score`; those without one are the last.
fn best(count: usize, score: impl Fn(usize) -> Option<f64>) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    let score = |place: usize| score(place).unwrap_or(f64::NEG_INFINITY);
    places.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
    places.truncate(SHOWN);
    places
}

#[cfg(test)]
mod tests {
    use super::best;

    #[test]
    fn the_best_stand_out_and_runs_without_results_do_not() {
        let score = |place: usize| (place != 3).then_some(place as f64);
        assert_eq!(best(12, score), [11, 10, 9, 8, 7, 6, 5, 4]);
        assert_eq!(best(4, score), [2, 1, 0, 3]);
    }
}
