//! What Linux tells of the process and the machine.

/// Most memory the process ever held, in bytes, where the system tells it.
pub fn peak_rss_bytes() -> Option<u64> {
    own_memory("VmHWM")
}

/// Memory the process holds now, in bytes, where the system tells it.
pub(crate) fn rss_bytes() -> Option<u64> {
    own_memory("VmRSS")
}

fn own_memory(name: &str) -> Option<u64> {
    let kibibytes: u64 = field("/proc/self/status", name)?.split(' ').next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Memory of the machine, or of the control group that the process runs in, in bytes, where the
/// system tells it.
pub(crate) fn memory_bytes() -> Option<u64> {
    let kibibytes: u64 = field("/proc/meminfo", "MemTotal")?.split(' ').next()?.parse().ok()?;
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|limit| limit.trim().parse().ok()).unwrap_or(u64::MAX);
    Some(limit.min(kibibytes * 1024))
}

/// The value of the first `name: value` line of a file under `/proc`.
pub(crate) fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn the_peak_memory_is_plausible() {
        let bytes = super::peak_rss_bytes().unwrap();
        assert!((1 << 20..1 << 40).contains(&bytes), "{bytes}");
    }
}
