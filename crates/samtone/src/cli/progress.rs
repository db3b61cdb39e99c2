//! How far a long command is: a bar on a terminal, and a line a minute on stderr where there is none.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, HumanDuration, ProgressBar, ProgressStyle};

use crate::output::say;

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_mins(1);

/// Work on its way, of a known length.
pub(crate) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    message: RefCell<String>,
    /// Where it began, and when.
    first: Cell<(u64, Instant)>,
    said: Cell<Instant>,
    tells: Tells,
}

/// What a line says beside where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tells {
    /// The message alone.
    Message,
    /// Rate and time left.
    Rate,
    /// The same, in bytes.
    Bytes,
}

impl Progress {
    /// `total` pieces of `what`, with their rate and the time left.
    pub(crate) fn new(total: u64, what: &'static str) -> Self {
        let template =
            "{prefix} {wide_bar} {human_pos}/{human_len} · {per_sec} · {eta} left · {msg}";
        Self::with_template(total, what, template, Tells::Rate)
    }

    /// As [`new`](Self::new), in bytes; how many is said later.
    pub(crate) fn bytes(what: &'static str) -> Self {
        let template = "{prefix} {wide_bar} {decimal_bytes}/{decimal_total_bytes} · \
                        {decimal_bytes_per_sec} · {eta} left · {msg}";
        Self::with_template(0, what, template, Tells::Bytes)
    }

    /// `total` pieces of `what`, of which the message tells all there is to tell.
    pub(crate) fn plain(total: u64, what: &'static str) -> Self {
        Self::with_template(
            total,
            what,
            "{prefix} {wide_bar} {human_pos}/{human_len} · {msg}",
            Tells::Message,
        )
    }

    fn with_template(total: u64, what: &'static str, template: &str, tells: Tells) -> Self {
        let style = ProgressStyle::with_template(template).expect("the template is a literal");
        let now = Instant::now();
        Self {
            bar: ProgressBar::new(total).with_style(style).with_prefix(what),
            what,
            message: RefCell::default(),
            first: Cell::new((0, now)),
            said: Cell::new(now),
            tells,
        }
    }

    /// Whether nobody sees the bar.
    pub(crate) fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    /// So much was done before: rate and time left do not count it.
    pub(crate) fn begin_at(&self, done: u64) {
        self.bar.set_position(done);
        self.bar.reset_eta();
        self.first.set((done, Instant::now()));
    }

    pub(crate) fn set_length(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// Whether it is on the screen, or a line says it.
    pub(crate) fn set_position(&self, done: u64) -> bool {
        self.bar.set_position(done);
        self.line()
    }

    pub(crate) fn inc(&self, more: u64) {
        self.bar.inc(more);
        self.line();
    }

    pub(crate) fn set_message(&self, message: impl Into<String>) {
        let message = message.into();
        if self.is_hidden() {
            *self.message.borrow_mut() = message;
        } else {
            self.bar.set_message(message);
        }
    }

    /// Writes a line on stderr, above the bar if there is one.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    pub(crate) fn finish_and_clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Leaves the bar as it stands.
    pub(crate) fn abandon(&self) {
        self.bar.abandon();
    }

    /// Without a terminal, a line if it is time for one; whether the user sees where it stands.
    fn line(&self) -> bool {
        let is_seen = !self.is_hidden() || self.said.get().elapsed() >= LINE_EVERY;
        if is_seen && self.is_hidden() {
            self.said.set(Instant::now());
            let (done, (first, started)) = (self.bar.position(), self.first.get());
            let total = self.bar.length().unwrap_or(0);
            say(self.told(done, total, done.saturating_sub(first), started.elapsed()));
        }
        is_seen
    }

    /// What is said of `done` pieces of `total`, `new` of them in `elapsed`.
    fn told(&self, done: u64, total: u64, new: u64, elapsed: Duration) -> String {
        let mut line = match self.tells {
            Tells::Bytes => format!("{} of {}", DecimalBytes(done), DecimalBytes(total)),
            _ => format!("{} {done} of {total}", self.what),
        };
        if self.tells != Tells::Message && new > 0 {
            let rate = new as f64 / elapsed.as_secs_f64();
            let left = total.saturating_sub(done) as f64 / rate;
            let rate = match self.tells {
                Tells::Bytes => {
                    let a_second = u128::from(new) * 1000 / elapsed.as_millis().max(1);
                    DecimalBytes(a_second as u64).to_string()
                }
                _ => format!("{rate:.0}"),
            };
            line += &format!(" · {rate} a second · {} left", time(left));
        }
        let message = self.message.borrow();
        if message.is_empty() { line } else { format!("{line} · {message}") }
    }
}

/// A number of seconds in words.
pub(crate) fn time(seconds: f64) -> String {
    HumanDuration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_and_time_left_of_what_is_new() {
        let progress = Progress::new(1000, "documents");
        let line = progress.told(400, 1000, 100, Duration::from_secs(50));
        assert_eq!(line, "documents 400 of 1000 · 2 a second · 5 minutes left");
        assert_eq!(progress.told(400, 1000, 0, Duration::ZERO), "documents 400 of 1000");
        let bytes = Progress::bytes("bytes");
        let line = bytes.told(3_000_000, 9_000_000, 2_000_000, Duration::from_secs(2));
        assert_eq!(line, "3.00 MB of 9.00 MB · 1.00 MB a second · 6 seconds left");
        let plain = Progress::plain(10, "step");
        *plain.message.borrow_mut() = "loss 0.5".into();
        assert_eq!(plain.told(3, 10, 3, Duration::from_secs(1)), "step 3 of 10 · loss 0.5");
    }
}
