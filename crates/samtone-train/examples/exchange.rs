//! How fast the processes of a job sum their gradients: `mpirun -n 4 exchange 22600000` prints the
//! seconds of an all-reduce of so many f32 numbers.
//!
//! `cargo build --release -p samtone-train --features mpi --example exchange` makes it.

use std::process::exit;
use std::time::Instant;

use samtone_train::share::{Job, JobError, Mpi, Numbers, abort};

/// Of each of them the slowest rank counts.
const ROUNDS: usize = 7;

fn seconds(job: &Job, count: usize) -> Result<Vec<f64>, JobError> {
    let mut numbers = vec![1.0_f32; count];
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        numbers.fill(1.0);
        job.wait()?;
        let started = Instant::now();
        job.sum(Numbers::F32(&mut numbers))?;
        let own = started.elapsed().as_secs_f64();
        let all = job.gather(&own.to_le_bytes())?.concat();
        let all = all.as_chunks().0.iter().map(|&seconds| f64::from_le_bytes(seconds));
        rounds.push(all.fold(0.0, f64::max));
        assert!(numbers.iter().all(|&sum| sum == job.size() as f32), "a sum is wrong");
    }
    rounds.sort_by(f64::total_cmp);
    Ok(rounds)
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "an example")]
fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(22_600_000);
    let launched = std::env::var("OMPI_COMM_WORLD_SIZE").or_else(|_| std::env::var("PMI_SIZE"));
    let launched = launched.ok().and_then(|size| size.parse().ok()).unwrap_or(1);
    let mpi = Mpi::join(launched).expect("the library of this launcher starts");
    let found = Job::new(mpi.exchange(), 1).and_then(|job| Ok((seconds(&job, count)?, job)));
    let (rounds, job) = found.unwrap_or_else(|error| {
        eprintln!("{error}");
        // The others would wait for one that only ended itself.
        abort(1);
        exit(1)
    });
    if job.leads() {
        let (size, middle) = (job.size(), rounds[ROUNDS / 2]);
        // A ring sends and receives so much of all numbers at each rank.
        let share = 2.0 * (size - 1) as f64 / size as f64;
        println!(
            "{size} ranks, {count} numbers, {}: {middle:.3} s ({:.3} to {:.3}), {:.2} Gbit/s through each",
            job.library(),
            rounds[0],
            rounds[ROUNDS - 1],
            8e-9 * share * 4.0 * count as f64 / middle
        );
    }
    mpi.leave();
}
