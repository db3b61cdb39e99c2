//! Ranks of a job that are threads of one process.

use std::sync::{Arc, Barrier, Mutex};

use samtone_train::share::{Exchange, JobError, Numbers};

/// What `work` finds on each of as many ranks as there are `own`, in their order; each has one of them.
pub(crate) fn on_each_rank<O: Send, T: Send>(
    own: Vec<O>,
    work: impl Fn(Arc<dyn Exchange>, O) -> T + Sync,
) -> Vec<T> {
    let (given, turn) = (Mutex::new(vec![Vec::new(); own.len()]), Barrier::new(own.len()));
    let meeting = Arc::new(Meeting { given, turn });
    std::thread::scope(|scope| {
        let start = |(rank, own)| {
            let (meeting, work) = (Arc::clone(&meeting), &work);
            scope.spawn(move || work(Arc::new(Thread { rank, meeting }), own))
        };
        let threads: Vec<_> = own.into_iter().enumerate().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Where the ranks leave what they give.
#[derive(Debug)]
struct Meeting {
    given: Mutex<Vec<Vec<u8>>>,
    turn: Barrier,
}

#[derive(Debug)]
struct Thread {
    rank: usize,
    meeting: Arc<Meeting>,
}

/// The numbers of `N` bytes that `all` ranks give, summed in their order.
fn summed<T: Copy + std::ops::AddAssign, const N: usize>(
    all: &[Vec<u8>],
    numbers: &mut [T],
    read: impl Fn([u8; N]) -> T,
) {
    for (i, number) in numbers.iter_mut().enumerate() {
        let mut given = all.iter().map(|given| read(given.as_chunks().0[i]));
        *number = given.next().unwrap();
        given.for_each(|other| *number += other);
    }
}

impl Exchange for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.meeting.given.lock().unwrap().len()
    }

    fn local_rank(&self) -> usize {
        self.rank
    }

    fn library(&self) -> String {
        "threads".into()
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, JobError> {
        own.clone_into(&mut self.meeting.given.lock().unwrap()[self.rank]);
        self.meeting.turn.wait();
        let all = self.meeting.given.lock().unwrap().clone();
        self.meeting.turn.wait();
        Ok(all)
    }

    fn all_reduce(&self, numbers: Numbers<'_>) -> Result<(), JobError> {
        match numbers {
            Numbers::F32(numbers) => {
                let own: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                summed(&self.all_gather(&own)?, numbers, f32::from_le_bytes);
            }
            Numbers::F64(numbers) => {
                let own: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                summed(&self.all_gather(&own)?, numbers, f64::from_le_bytes);
            }
        }
        Ok(())
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), JobError> {
        *bytes = self.all_gather(bytes)?.swap_remove(0);
        Ok(())
    }
}
