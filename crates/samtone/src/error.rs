//! How a failed command ends: the causes, a hint and the exit code.

use std::process::ExitCode;

/// A mistake in how the command was called, not in what it met: exit code 2.
#[derive(Debug)]
pub(crate) struct Usage {
    message: String,
    hint: Option<String>,
}

impl Usage {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
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

impl std::error::Error for Usage {}

/// Prints `error` with its causes and its hint to stderr; the exit code is 2 for a usage mistake
/// and 1 for anything else.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  caused by: {cause}");
    }
    if let Some(hint) = error.chain().find_map(hint) {
        eprintln!("\nhint: {hint}");
    }
    let usage = error.chain().any(is_usage);
    ExitCode::from(if usage { 2 } else { 1 })
}

/// Whether the mistake is in the call or its configuration.
fn is_usage(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<Usage>()
}

/// What to do about `cause`, where its crate knows: one line per error type that gives hints.
fn hint(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(usage) = cause.downcast_ref::<Usage>() {
        return usage.hint.clone();
    }
    None
}
