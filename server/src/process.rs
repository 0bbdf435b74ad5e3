//! What the system knows of this process (proc(5)).

use std::fs;

/// Bytes of memory that it has; 0 where the system does not tell.
pub(crate) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or_default() * 1024
}

/// Files and sockets that it has open; 0 where the system does not tell.
pub(crate) fn open_files() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_of_itself() {
        assert!(resident_bytes() > 100 << 10);
        let before = open_files();
        let _files: Vec<_> = (0..9).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        assert!(before > 0 && open_files() >= 9);
    }
}
