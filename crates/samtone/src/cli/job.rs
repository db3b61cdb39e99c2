//! The other processes of a training that a launcher has started together.

use std::process::{ExitCode, exit};
use std::sync::{Arc, OnceLock};
use std::thread::sleep;
use std::time::Duration;

use samtone_train::TrainError;
use samtone_train::share::Exchange;
#[cfg(feature = "mpi")]
use samtone_train::share::{Mpi, abort};

use crate::error::{Usage, report};
use crate::output::say;
use crate::shard::Launched;

/// Which of the job's processes this is, once it has joined them.
static RANK: OnceLock<usize> = OnceLock::new();

/// This process's part in a job.
#[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "this build joins no others"))]
pub(crate) struct Joined {
    pub(crate) exchange: Arc<dyn Exchange>,
    #[cfg(feature = "mpi")]
    mpi: Mpi,
}

impl Joined {
    /// Ends this process's part, once all others end theirs.
    pub(crate) fn leave(self) {
        #[cfg(feature = "mpi")]
        self.mpi.leave();
        #[cfg(not(feature = "mpi"))]
        drop(self);
    }

    /// Ends this process by the `error` of a run that was asked to stop, which all ranks have done after
    /// the same step: rank 0 tells of it, and all leave.
    pub(crate) fn stop(self, error: &anyhow::Error) -> ! {
        let code = if self.exchange.rank() == 0 { report(error) } else { 1 };
        self.leave();
        exit(code.into())
    }
}

/// Whether `error` is that of a run that was asked to stop.
pub(crate) fn is_stop(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(TrainError::Interrupted { .. }))
}

/// Joins the other processes that a launcher has started with this one, if it has.
///
/// # Errors
/// [`Usage`] if this build cannot: each process would train the whole run, all into one folder.
#[cfg(not(feature = "mpi"))]
pub(crate) fn join() -> anyhow::Result<Option<Joined>> {
    match Launched::here() {
        None => Ok(None),
        Some(launched) => {
            let message = format!("{launched}, and this build trains in one");
            let hint = format!(
                "build with `--features mpi`, and they train together; {}",
                launched.alone()
            );
            Err(Usage::new(message).with_hint(hint).into())
        }
    }
}

/// Joins the other processes that a launcher has started with this one, if it has.
///
/// # Errors
/// If MPI does not start, or finds others than the launcher has started.
#[cfg(feature = "mpi")]
pub(crate) fn join() -> anyhow::Result<Option<Joined>> {
    let Some(launched) = Launched::here() else { return Ok(None) };
    let mpi = Mpi::join(launched.count).map_err(TrainError::from)?;
    let exchange = mpi.exchange();
    let _ = RANK.set(exchange.rank());
    Ok(Some(Joined { exchange, mpi }))
}

/// Checks that a launcher has started no others beside this process, whose command is `name`.
///
/// # Errors
/// [`Usage`] if it has: all would write the same folder.
pub(crate) fn alone(name: &str) -> Result<(), Usage> {
    match Launched::here() {
        None => Ok(()),
        Some(launched) => {
            let message = format!("{launched}, and `samtone {name}` works in one");
            let hint = format!("`samtone train` is what several do together; {}", launched.alone());
            Err(Usage::new(message).with_hint(hint))
        }
    }
}

/// How long a rank whose failure is every rank's waits for rank 0 to tell of it and end all.
const GRACE: Duration = Duration::from_secs(10);

/// Tells of a failed command, and ends the other processes of its job with it: they would wait for this
/// one for ever.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    if let Some(&rank) = RANK.get() {
        let found = error.chain().find_map(|cause| cause.downcast_ref::<TrainError>());
        if rank > 0 && found.is_some_and(TrainError::is_everyones) {
            sleep(GRACE);
        }
        say(format_args!("rank {rank} ends all:"));
    }
    let code = report(error);
    #[cfg(feature = "mpi")]
    abort(code.into());
    ExitCode::from(code)
}
