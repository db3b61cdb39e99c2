//! Exchanges by MPI, through the library that the program is linked to.

use std::fmt;
use std::mem::{ManuallyDrop, replace};
use std::panic;
use std::sync::{Arc, OnceLock};

use ferrompi::{Communicator, MpiDatatype, ReduceOp, ThreadLevel};

use crate::share::job::{Exchange, JobError, Numbers};

/// All processes of the job, once this one has joined them.
static WORLD: OnceLock<Communicator> = OnceLock::new();

/// The exit code of a process that panics.
const PANICKED: i32 = 101;

/// The most bytes of one call: the library counts in 31 bits.
const PIECE: usize = 1 << 30;

/// This process's part in a job of MPI, once in a process.
///
/// A process that ends without [`leave`](Self::leave) has failed, and must take the others with it by
/// [`abort`]: they would wait for it for ever. One that panics does.
pub struct Mpi {
    // Dropped, it waits until all have left.
    library: ManuallyDrop<ferrompi::Mpi>,
    exchange: Arc<dyn Exchange>,
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mpi").field(&self.exchange).finish()
    }
}

impl Mpi {
    /// Joins the other processes, of which the launcher says there are `launched` with this one. From
    /// here on a panic of any thread prints its message and ends all of them.
    ///
    /// # Errors
    /// If the library does not start, does not allow calls from several threads, or finds another number
    /// of processes.
    pub fn join(launched: usize) -> Result<Self, JobError> {
        let fault = |cause: String| JobError::Start { cause };
        let failed = |error: ferrompi::Error| fault(error.to_string());
        let library = ferrompi::Mpi::init_thread(ThreadLevel::Serialized).map_err(failed)?;
        let library = ManuallyDrop::new(library);
        let world = WORLD.get_or_init(|| library.world());
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            before(panic);
            abort(PANICKED);
        }));
        if library.thread_level() < ThreadLevel::Serialized {
            return Err(fault("the library was built for programs of one thread".into()));
        }
        let found = number(world.size());
        if found != launched {
            return Err(JobError::Launcher { launched, found });
        }
        let local_rank = number(world.split_shared().map_err(failed)?.rank());
        let exchange = Arc::new(World { communicator: world, local_rank, piece: PIECE });
        Ok(Self { library, exchange })
    }

    /// How the processes exchange.
    pub fn exchange(&self) -> Arc<dyn Exchange> {
        Arc::clone(&self.exchange)
    }

    /// Leaves the job, once all others leave too: the one end that is no failure.
    pub fn leave(self) {
        drop(ManuallyDrop::into_inner(self.library));
    }
}

/// Ends all processes of the job with the exit code `code`, if this one has joined them and not left:
/// what one that fails must do.
pub fn abort(code: i32) {
    if let Some(world) = WORLD.get()
        && !ferrompi::Mpi::is_finalized()
    {
        world.abort(code);
    }
}

/// A rank or a count of them, as the library gives it.
fn number(of_library: i32) -> usize {
    usize::try_from(of_library).expect("ranks are counted from 0")
}

/// Exchanges between all processes.
struct World {
    communicator: &'static Communicator,
    local_rank: usize,
    /// The most bytes of one call.
    piece: usize,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank(), self.size())
    }
}

impl World {
    /// `done`, or the error of an `operation`.
    fn checked<T>(
        &self,
        operation: &'static str,
        done: ferrompi::Result<T>,
    ) -> Result<T, JobError> {
        let rank = self.rank();
        done.map_err(|error| JobError::Failed { rank, operation, cause: error.to_string() })
    }

    fn sum<T: MpiDatatype>(&self, numbers: &mut [T]) -> Result<(), JobError> {
        for piece in numbers.chunks_mut(self.piece / size_of::<T>()) {
            self.checked("all-reduce", self.communicator.allreduce_inplace(piece, ReduceOp::Sum))?;
        }
        Ok(())
    }
}

impl Exchange for World {
    fn rank(&self) -> usize {
        number(self.communicator.rank())
    }

    fn size(&self) -> usize {
        number(self.communicator.size())
    }

    fn local_rank(&self) -> usize {
        self.local_rank
    }

    fn library(&self) -> String {
        let version = ferrompi::Mpi::library_version().unwrap_or_default();
        // Some go on to tell what they were built with.
        version.split([',', '\n']).next().unwrap_or_default().trim().into()
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, JobError> {
        let operation = "all-gather";
        let mut lengths = vec![0_u64; self.size()];
        self.checked(operation, self.communicator.allgather(&[own.len() as u64], &mut lengths))?;
        let mut all: Vec<Vec<u8>> =
            lengths.iter().map(|&length| Vec::with_capacity(length as usize)).collect();
        let longest = lengths.iter().max().map_or(0, |&length| length as usize);
        let most = self.piece / self.size();
        for first in (0..longest).step_by(most) {
            let count = |&length: &u64| (length as usize).saturating_sub(first).min(most);
            let counts: Vec<usize> = lengths.iter().map(count).collect();
            let mut received = vec![0; counts.iter().sum()];
            let starts: Vec<usize> =
                counts.iter().scan(0, |next, count| Some(replace(next, *next + count))).collect();
            let sent = &own[first.min(own.len())..][..counts[self.rank()]];
            // No more than a piece in all, which is within the library's 31 bits.
            let [i32_counts, i32_starts] = [&counts, &starts]
                .map(|numbers| numbers.iter().map(|&number| number as i32).collect::<Vec<_>>());
            let done = self.communicator.allgatherv(sent, &mut received, &i32_counts, &i32_starts);
            self.checked(operation, done)?;
            for ((all, start), count) in all.iter_mut().zip(starts).zip(counts) {
                all.extend(&received[start..][..count]);
            }
        }
        Ok(all)
    }

    fn all_reduce(&self, numbers: Numbers<'_>) -> Result<(), JobError> {
        match numbers {
            Numbers::F32(numbers) => self.sum(numbers),
            Numbers::F64(numbers) => self.sum(numbers),
        }
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), JobError> {
        let mut length = [bytes.len() as u64];
        self.checked("broadcast", self.communicator.broadcast(&mut length, 0))?;
        bytes.resize(length[0] as usize, 0);
        for piece in bytes.chunks_mut(self.piece) {
            self.checked("broadcast", self.communicator.broadcast(piece, 0))?;
        }
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use samtone_testing::mpi::mpirun;

    use super::*;

    #[test]
    #[ignore = "it is one rank of the test below"]
    fn a_rank() {
        let mpi = Mpi::join(3).unwrap();
        let world = World { communicator: WORLD.get().unwrap(), local_rank: 0, piece: 24 };
        let rank = world.rank();
        assert_eq!(mpi.exchange().local_rank(), rank);
        let own = |rank: usize| (0..[0, 50, 9][rank]).map(|i| i + rank as u8).collect::<Vec<u8>>();
        assert_eq!(world.all_gather(&own(rank)).unwrap(), [own(0), own(1), own(2)]);
        let mut numbers: Vec<f64> = (0..100).map(|i| f64::from(i) * (rank as f64 + 1.0)).collect();
        world.all_reduce(Numbers::F64(&mut numbers)).unwrap();
        assert!(numbers.iter().enumerate().all(|(i, &sum)| sum == 6.0 * i as f64), "{numbers:?}");
        let mut bytes = if rank == 0 { own(1) } else { own(2) };
        world.broadcast(&mut bytes).unwrap();
        assert_eq!(bytes, own(1));
        mpi.leave();
    }

    #[test]
    fn what_is_more_than_a_call_takes_goes_in_pieces() {
        let mut ranks = mpirun();
        ranks.args(["-n", "3"]).arg(std::env::current_exe().unwrap());
        ranks.args(["--exact", "share::mpi::tests::a_rank", "--ignored", "--nocapture"]);
        let output = ranks.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
