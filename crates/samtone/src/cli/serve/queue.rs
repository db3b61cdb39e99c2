//! Token rows that wait to be embedded, of all requests together.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use samtone_model::Side;
use tokio::sync::oneshot;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;

/// A queue with room for so many texts, those that are being embedded included.
pub(crate) struct Queue {
    room: Arc<Semaphore>,
    most: usize,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

/// Room for a request's texts, given back when it is dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// The texts of a request, of which the first are embedded.
pub(super) struct Job {
    pub(super) side: Side,
    pub(super) rows: Vec<Vec<u32>>,
    /// `[embedded, dim]`
    embeddings: Vec<f32>,
    /// Rows that are embedded.
    done: usize,
    answer: oneshot::Sender<Vec<f32>>,
    place: Place,
}

/// What is taken of a job at once: its rows from those that are done to here.
pub(super) struct Share {
    pub(super) job: Job,
    end: usize,
}

impl Queue {
    pub(super) fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        let room = Arc::new(Semaphore::new(most));
        Self { room, most, waiting: Mutex::default(), changed: Condvar::new() }
    }

    /// Room for `count` texts, at once or not at all.
    ///
    /// # Errors
    /// If there is none, or the queue is closed.
    pub(super) fn place(&self, count: usize) -> Result<Place, Refusal> {
        if self.lock().is_closed {
            return Err(Refusal::stopping());
        }
        let wanted = u32::try_from(count).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.room).try_acquire_many_owned(wanted);
        place
            .map(|permit| Place { _permit: permit })
            .map_err(|_| Refusal::full(self.texts(), self.most))
    }

    /// Has `rows` embedded: `[rows, dim]` comes when they are.
    ///
    /// # Errors
    /// If the queue is closed.
    pub(super) fn push(
        &self,
        place: Place,
        side: Side,
        rows: Vec<Vec<u32>>,
    ) -> Result<oneshot::Receiver<Vec<f32>>, Refusal> {
        let (answer, embedded) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(Refusal::stopping());
        }
        let (embeddings, done) = (Vec::new(), 0);
        waiting.jobs.push_back(Job { side, rows, embeddings, done, answer, place });
        drop(waiting);
        self.changed.notify_one();
        Ok(embedded)
    }

    /// What to embed next, of at most `tokens` tokens or one row: waits for it; none when the queue is
    /// closed and empty.
    ///
    /// Jobs come in the order of the queue, and whose client has gone are dropped. One that does not fit
    /// is begun with the rows that do, and its rest goes [to the end](Queue::put_back): who asks for
    /// little does not wait for who asks for much.
    pub(super) fn take(&self, tokens: usize) -> Option<Vec<Share>> {
        let mut waiting = self.lock();
        loop {
            let (mut shares, mut left) = (Vec::new(), tokens);
            while let Some(job) = waiting.jobs.pop_front() {
                if job.answer.is_closed() {
                    continue;
                }
                let end = job.fitting(left, shares.is_empty());
                if end == job.done {
                    waiting.jobs.push_front(job);
                    break;
                }
                let is_whole = end == job.rows.len();
                let taken = job.rows[job.done..end].iter().map(Vec::len).sum();
                left = left.saturating_sub(taken);
                shares.push(Share { job, end });
                if !is_whole {
                    break;
                }
            }
            if !shares.is_empty() {
                return Some(shares);
            }
            if waiting.is_closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets a job that has rows left wait behind the others.
    fn put_back(&self, job: Job) {
        self.lock().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// Hands on the embeddings of what was taken, in its order: numbers of all rows, `dim` each.
    pub(super) fn done(&self, shares: Vec<Share>, embeddings: &[f32], dim: usize) {
        let mut rest = embeddings;
        for Share { mut job, end } in shares {
            let (own, behind) = rest.split_at((end - job.done) * dim);
            rest = behind;
            job.embeddings.extend_from_slice(own);
            job.done = end;
            if job.done < job.rows.len() {
                self.put_back(job);
            } else {
                let Job { embeddings, answer, place, .. } = job;
                // There is room before the answer is there, so who has it may ask for more.
                drop(place);
                // Who went away meanwhile misses nothing.
                let _ = answer.send(embeddings);
            }
        }
    }

    /// Takes nothing more; what waits is still embedded.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Takes nothing more, and what waits has no answer.
    pub(super) fn abandon(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        waiting.jobs.clear();
    }

    /// Texts that are waiting or being embedded.
    pub(super) fn texts(&self) -> usize {
        self.most - self.room.available_permits()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// Where its rows end that fit into `tokens`; at least one does if it `comes_first`.
    fn fitting(&self, tokens: usize, comes_first: bool) -> usize {
        let (mut end, mut left) = (self.done, tokens);
        while let Some(row) = self.rows.get(end) {
            let is_forced = comes_first && end == self.done;
            if row.len() > left && !is_forced {
                break;
            }
            left = left.saturating_sub(row.len());
            end += 1;
        }
        end
    }
}

impl Share {
    /// How many rows it has.
    pub(super) fn texts(&self) -> usize {
        self.end - self.job.done
    }

    /// Its rows, which are the caller's from now on.
    pub(super) fn take_rows(&mut self) -> impl Iterator<Item = Vec<u32>> + '_ {
        self.job.rows[self.job.done..self.end].iter_mut().map(std::mem::take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of these lengths, all of this number.
    fn rows(number: u32, lengths: &[usize]) -> Vec<Vec<u32>> {
        lengths.iter().map(|&length| vec![number; length]).collect()
    }

    fn push(
        queue: &Queue,
        number: u32,
        lengths: &[usize],
    ) -> Result<oneshot::Receiver<Vec<f32>>, Refusal> {
        queue.push(queue.place(lengths.len())?, Side::Query, rows(number, lengths))
    }

    /// Embeds what is next in two numbers, the row's first and its length; says whose rows they were.
    fn embed_next(queue: &Queue, tokens: usize) -> Vec<u32> {
        let mut shares = queue.take(tokens).unwrap();
        let rows: Vec<Vec<u32>> = shares.iter_mut().flat_map(Share::take_rows).collect();
        let numbers: Vec<f32> =
            rows.iter().flat_map(|row| [row[0] as f32, row.len() as f32]).collect();
        queue.done(shares, &numbers, 2);
        rows.iter().map(|row| row[0]).collect()
    }

    #[test]
    fn requests_that_wait_are_embedded_together_by_tokens() {
        let queue = Queue::new(99);
        let mut answers: Vec<_> =
            [[4, 4], [1, 1], [3, 9]].iter().zip(1..).map(|(l, n)| push(&queue, n, l)).collect();
        assert_eq!(queue.texts(), 6);
        // 8 and 2 and 3 of 14: the last row waits.
        assert_eq!(embed_next(&queue, 14), [1, 1, 2, 2, 3]);
        assert_eq!(queue.texts(), 2);
        assert_eq!(embed_next(&queue, 8), [3], "a row that is longer is computed alone");
        let mut answer = |at: usize| answers[at].as_mut().unwrap().try_recv().unwrap();
        assert_eq!(answer(0), [1.0, 4.0, 1.0, 4.0]);
        assert_eq!(answer(2), [3.0, 3.0, 3.0, 9.0]);
        assert_eq!(queue.texts(), 0);
    }

    #[test]
    fn who_asks_for_little_does_not_wait_for_who_asks_for_much() {
        let queue = Queue::new(99);
        let _much = push(&queue, 1, &[4; 9]).unwrap();
        let _little = push(&queue, 2, &[4]).unwrap();
        assert_eq!(embed_next(&queue, 12), [1, 1, 1]);
        assert_eq!(embed_next(&queue, 12), [2, 1, 1]);
        assert_eq!(embed_next(&queue, 99), [1; 4]);
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_has_room_again() {
        let queue = Queue::new(3);
        let first = push(&queue, 1, &[1, 1]).unwrap();
        let refused = push(&queue, 2, &[1, 1]).unwrap_err();
        assert!(refused.message.contains("2 of 3 texts"), "{}", refused.message);
        let _second = push(&queue, 3, &[1]).unwrap();
        // Whose client has gone costs nothing but its place until it would be taken.
        drop(first);
        assert_eq!(embed_next(&queue, 9), [3]);
        assert_eq!(queue.texts(), 0);
    }

    #[test]
    fn what_waits_is_embedded_before_a_closed_queue_ends() {
        let queue = Queue::new(9);
        let mut answer = push(&queue, 1, &[5, 5]).unwrap();
        queue.close();
        assert!(push(&queue, 2, &[1]).unwrap_err().message.contains("stopping"));
        assert_eq!(embed_next(&queue, 5), [1]);
        assert_eq!(embed_next(&queue, 5), [1]);
        assert_eq!(answer.try_recv().unwrap(), [1.0, 5.0, 1.0, 5.0]);
        assert!(queue.take(5).is_none());
    }

    #[test]
    fn a_thread_that_waits_is_woken() {
        let queue = Arc::new(Queue::new(9));
        let worker = {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                let first = embed_next(&queue, 9);
                (first, queue.take(9).is_none())
            })
        };
        let _answer = push(&queue, 7, &[2]).unwrap();
        while queue.texts() > 0 {
            std::thread::yield_now();
        }
        queue.close();
        assert_eq!(worker.join().unwrap(), (vec![7], true));
    }
}
