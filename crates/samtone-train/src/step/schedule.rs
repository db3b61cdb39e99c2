//! The learning rate at each step.

use serde::{Deserialize, Serialize};

/// How the learning rate falls after the warmup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// A straight line to zero at the last step: the papers' choice.
    #[default]
    Linear,
    /// Half a cosine to zero at the last step.
    Cosine,
    /// No decay.
    Constant,
}

/// Linear warmup from zero, then [`Decay`]: a pure function of the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The highest learning rate.
    pub peak: f64,
    /// Steps until the peak.
    pub warmup: usize,
    /// Steps of the whole run.
    pub steps: usize,
    /// What follows the warmup.
    pub decay: Decay,
}

impl Schedule {
    /// The learning rate of `step`, counted from 0.
    ///
    /// The first step already learns: step `s` of `w` warmup steps has `(s + 1) / w` of the peak.
    ///
    /// # Examples
    ///
    /// ```
    /// use samtone_train::step::{Decay, Schedule};
    ///
    /// let schedule = Schedule { peak: 1.0, warmup: 2, steps: 6, decay: Decay::Linear };
    /// let rates: Vec<f64> = (0..6).map(|step| schedule.learning_rate(step)).collect();
    /// assert_eq!(rates, [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]);
    /// ```
    pub fn learning_rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let falling = self.steps.saturating_sub(self.warmup).max(1) as f64;
        let progress = ((step - self.warmup) as f64 / falling).min(1.0);
        self.peak
            * match self.decay {
                Decay::Linear => 1.0 - progress,
                Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
                Decay::Constant => 1.0,
            }
    }
}

/// The learning rate of a run in one stage or two, each with a [`Schedule`] of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stages {
    first: Schedule,
    second: Option<Schedule>,
}

impl Stages {
    /// The stages of `whole`; the second has `share` of the steps, at least one of them.
    #[expect(clippy::cast_sign_loss, reason = "a share is positive")]
    pub fn new(whole: Schedule, share: Option<f64>) -> Self {
        let Some(share) = share else { return Self { first: whole, second: None } };
        let steps = ((share * whole.steps as f64).round() as usize).clamp(1, whole.steps);
        Self {
            first: Schedule { steps: whole.steps - steps, ..whole },
            second: Some(Schedule { steps, ..whole }),
        }
    }

    /// Steps of both stages.
    pub fn steps(&self) -> usize {
        self.first.steps + self.second.map_or(0, |second| second.steps)
    }

    /// The first step of the second stage, if there is one.
    pub fn second_begins(&self) -> Option<usize> {
        self.second.map(|_| self.first.steps)
    }

    /// The learning rate of `step`, counted from 0.
    pub fn learning_rate(&self, step: usize) -> f64 {
        match self.second {
            Some(second) if step >= self.first.steps => {
                second.learning_rate(step - self.first.steps)
            }
            _ => self.first.learning_rate(step),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(decay: Decay, warmup: usize, steps: usize) -> Vec<f64> {
        let schedule = Schedule { peak: 2.0, warmup, steps, decay };
        (0..steps).map(|step| schedule.learning_rate(step)).collect()
    }

    #[test]
    fn constant_stays_at_the_peak() {
        assert_eq!(rates(Decay::Constant, 2, 4), [1.0, 2.0, 2.0, 2.0]);
    }

    #[test]
    fn cosine_is_halfway_down_in_the_middle() {
        let rates = rates(Decay::Cosine, 0, 8);
        assert!((rates[4] - 1.0).abs() < 1e-12);
        assert!(rates.windows(2).all(|pair| pair[1] < pair[0]));
    }

    #[test]
    fn a_run_shorter_than_its_warmup_never_reaches_the_peak() {
        assert_eq!(rates(Decay::Linear, 4, 2), [0.5, 1.0]);
    }

    #[test]
    fn the_second_stage_warms_up_and_falls_by_itself() {
        let whole = Schedule { peak: 1.0, warmup: 2, steps: 10, decay: Decay::Linear };
        let stages = Stages::new(whole, Some(0.4));
        assert_eq!((stages.steps(), stages.second_begins()), (10, Some(6)));
        let rates: Vec<f64> = (0..10).map(|step| stages.learning_rate(step)).collect();
        assert_eq!(rates, [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.5, 1.0, 1.0, 0.5]);
        assert_eq!(Stages::new(whole, None).learning_rate(4), whole.learning_rate(4));
    }
}
