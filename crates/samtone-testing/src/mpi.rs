//! Programs under `mpirun`, all ranks on one machine.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// `mpirun`, to which `-n RANKS PROGRAM ARGUMENTS…` is added, as for a container and fewer cores than
/// ranks; it ends what takes longer than five minutes.
pub fn mpirun() -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]);
    command.args(["--timeout", "300"]);
    // Who waits leaves the core to those who compute, and nobody reads another process's memory.
    command.env("OMPI_MCA_mpi_yield_when_idle", "1");
    command.env("OMPI_MCA_btl_vader_single_copy_mechanism", "none");
    command.env("RAYON_NUM_THREADS", "1");
    command
}

/// Waits until `is_there`, as long as `mpirun` runs.
///
/// # Panics
/// If `mpirun` ends before, or it takes longer than two minutes.
#[track_caller]
pub fn wait_until(mpirun: &mut Child, is_there: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_mins(2);
    while !is_there() {
        assert!(mpirun.try_wait().unwrap().is_none(), "it has ended");
        assert!(Instant::now() < patience, "it takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The process of `rank`, of those that Open MPI's `mpirun` has started.
///
/// # Panics
/// If there is none.
#[track_caller]
pub fn process_of(mpirun: &Child, rank: usize) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", mpirun.id());
    let children = std::fs::read_to_string(children).unwrap();
    let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
    let is_it = |child: &&str| {
        let environment = std::fs::read(format!("/proc/{child}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    children.split_whitespace().find(is_it).unwrap().parse().unwrap()
}
