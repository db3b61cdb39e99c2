//! How much of the machine other work takes: in an honest comparison, next to nothing.

use std::fs;

/// Ticks of all cores up to some moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ticks {
    all: u64,
    idle: u64,
    /// Of this process and of children that have ended.
    own: u64,
}

impl Ticks {
    /// Until now; none where there is no `/proc`.
    pub(crate) fn now() -> Option<Self> {
        let read = |path| fs::read_to_string(path).ok();
        Self::read(&read("/proc/stat")?, &read("/proc/self/stat")?)
    }

    /// From `/proc/stat` and a process's own `stat`.
    fn read(machine: &str, process: &str) -> Option<Self> {
        let numbers = |text: &str| -> Option<Vec<u64>> {
            text.split_whitespace().map(|number| number.parse().ok()).collect()
        };
        // user, nice, system, idle, waiting for disks, two kinds of interrupts, stolen by the host;
        // guests are in user already.
        let machine = numbers(machine.lines().next()?.strip_prefix("cpu ")?)?;
        let machine = machine.get(..8)?;
        // A name in brackets may hold anything; utime is the twelfth field after it.
        let fields: Vec<&str> = process.rsplit_once(')')?.1.split_whitespace().collect();
        let own = numbers(&fields.get(11..15)?.join(" "))?;
        Some(Self {
            all: machine.iter().sum(),
            idle: machine[3] + machine[4],
            own: own.iter().sum(),
        })
    }

    /// The share of the machine that neither lay idle nor worked for this process since `before`.
    pub(crate) fn others_since(&self, before: &Self) -> f64 {
        let all = self.all.saturating_sub(before.all);
        let idle = self.idle.saturating_sub(before.idle);
        let own = self.own.saturating_sub(before.own);
        all.saturating_sub(idle + own) as f64 / all.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::Ticks;

    #[test]
    fn others_have_what_is_neither_idle_nor_ours() {
        let ticks = |machine: &str, own: &str| {
            let process = format!("7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 {own} 20 0 1 0\n");
            Ticks::read(&format!("cpu  {machine}\ncpu0 1 1\n"), &process)
        };
        let before = ticks("100 0 50 800 50 0 0 0 9 9", "10 5 20 15").unwrap();
        assert_eq!(before, Ticks { all: 1000, idle: 850, own: 50 });
        // 1,000 more: 200 of them idle, 700 ours.
        let after = ticks("700 50 150 1000 50 0 0 50 9 9", "200 50 400 100").unwrap();
        assert_eq!(after.others_since(&before), 0.1);
        assert_eq!(before.others_since(&before), 0.0);
        assert_eq!(ticks("1 2 3", "10 5 20 15"), None);
        assert_eq!(ticks("100 0 50 800 50 0 0 0", "x 5 20 15"), None);
    }
}
