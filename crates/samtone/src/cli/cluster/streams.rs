//! Several requests on their way at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Calls `each` with the numbers from 0 to `count`, on `streams` threads, and `done` with what comes of
/// them, as it comes.
///
/// # Errors
/// The first of any; what is on its way then is waited for, and no more is begun.
pub(super) fn streams<T: Send>(
    count: usize,
    streams: usize,
    each: impl Fn(usize) -> anyhow::Result<T> + Sync,
    mut done: impl FnMut(T),
) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let work = |sender: mpsc::Sender<anyhow::Result<T>>| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let result = each(number);
            if result.is_err() {
                next.store(count, Ordering::Relaxed);
            }
            if sender.send(result).is_err() {
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..streams.min(count) {
            let sender = sender.clone();
            scope.spawn(|| work(sender));
        }
        drop(sender);
        let mut ended = Ok(());
        for result in receiver {
            match result {
                Ok(result) => done(result),
                Err(error) if ended.is_ok() => ended = Err(error),
                Err(_) => {}
            }
        }
        ended
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_called_once() {
        for threads in [1, 3, 9] {
            let mut called = Vec::new();
            streams(7, threads, Ok, |number| called.push(number)).unwrap();
            called.sort_unstable();
            assert_eq!(called, [0, 1, 2, 3, 4, 5, 6]);
        }
        streams(0, 4, |_| -> anyhow::Result<()> { panic!() }, |()| panic!()).unwrap();
    }

    #[test]
    fn an_error_ends_it() {
        let begun = AtomicUsize::new(0);
        let each = |number| {
            begun.fetch_add(1, Ordering::Relaxed);
            anyhow::ensure!(number != 2, "two");
            Ok(())
        };
        let ended = streams(1000, 1, each, |()| {});
        assert_eq!(ended.unwrap_err().to_string(), "two");
        assert_eq!(begun.into_inner(), 3);
    }
}
