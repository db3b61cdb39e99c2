//! How a failed command ends: the causes, a hint and the exit code.

use samtone_data::DataError;
use samtone_eval::EvalError;
use samtone_hub::HubError;
use samtone_loss::LossError;
use samtone_model::ModelError;
use samtone_report::ReportError;
use samtone_train::TrainError;

use crate::output::say;

/// A mistake in how the command was called, not in what it met: exit code 2.
#[derive(Debug)]
pub(crate) struct Usage {
    message: String,
    hint: Option<String>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Usage {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, cause: None }
    }

    pub(crate) fn with_cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into().into());
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Usage {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Something that the command met, with what to do about it: exit code 1.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: String,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Prints `error` with its causes and its hint to stderr; the exit code is 2 for a usage mistake
/// and 1 for anything else.
pub(crate) fn report(error: &anyhow::Error) -> u8 {
    say(format_args!("error: {error}"));
    for cause in error.chain().skip(1) {
        say(format_args!("  caused by: {cause}"));
    }
    if let Some(hint) = error.chain().find_map(hint) {
        say(format_args!("\nhint: {hint}"));
    }
    if error.chain().any(is_usage) { 2 } else { 1 }
}

/// Whether the mistake is in the call or its configuration.
fn is_usage(cause: &(dyn std::error::Error + 'static)) -> bool {
    let configuration = |error: &TrainError| {
        use TrainError::{Config, Precision, TooManyDevices};
        matches!(error, Config { .. } | Precision { .. } | TooManyDevices { .. })
    };
    let precision = |error: &ModelError| matches!(error, ModelError::Precision { .. });
    cause.is::<Usage>()
        || cause.downcast_ref().is_some_and(configuration)
        || cause.downcast_ref().is_some_and(precision)
}

/// What to do about `cause`, where its crate knows.
fn hint(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    let usage = cause.downcast_ref::<Usage>().and_then(|error| error.hint.clone());
    usage
        .or_else(|| cause.downcast_ref().map(|failure: &Failure| failure.hint.clone()))
        .or_else(|| cause.downcast_ref().and_then(TrainError::hint))
        .or_else(|| cause.downcast_ref().and_then(DataError::hint))
        .or_else(|| cause.downcast_ref().and_then(EvalError::hint))
        .or_else(|| cause.downcast_ref().and_then(HubError::hint))
        .or_else(|| cause.downcast_ref().and_then(LossError::hint))
        .or_else(|| cause.downcast_ref().and_then(ModelError::hint))
        .or_else(|| cause.downcast_ref().and_then(ReportError::hint))
}
