//! The loss's temperature during a run: fixed, or learned as one number.

use samtone_loss::{Loss, LossError, Temperature};
use serde::{Deserialize, Serialize};

/// The temperature and, where it is learned, Adam's moments of ln τ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemperatureState {
    /// The value that the next step uses.
    pub value: Temperature,
    first_moment: f64,
    second_moment: f64,
    steps: i32,
}

impl TemperatureState {
    const BETA_1: f64 = 0.9;
    const BETA_2: f64 = 0.999;
    const EPS: f64 = 1e-8;

    /// The temperature that `loss` starts with.
    pub fn new(loss: &Loss) -> Self {
        Self { value: loss.temperature(), first_moment: 0.0, second_moment: 0.0, steps: 0 }
    }

    /// One step of Adam on ln τ, if `loss` learns its temperature.
    ///
    /// # Errors
    /// If the step leads out of the finite numbers.
    pub fn step(
        &mut self,
        loss: &Loss,
        gradient: f64,
        learning_rate: f64,
    ) -> Result<(), LossError> {
        let Some(limit) = loss.learned_temperature() else { return Ok(()) };
        self.steps += 1;
        self.first_moment = Self::BETA_1 * self.first_moment + (1.0 - Self::BETA_1) * gradient;
        self.second_moment =
            Self::BETA_2 * self.second_moment + (1.0 - Self::BETA_2) * gradient * gradient;
        let first = self.first_moment / (1.0 - Self::BETA_1.powi(self.steps));
        let second = self.second_moment / (1.0 - Self::BETA_2.powi(self.steps));
        let log = self.value.log() - learning_rate * first / (second.sqrt() + Self::EPS);
        self.value = Temperature::from_log(log.max(limit.min_log()))?;
        Ok(())
    }
}
