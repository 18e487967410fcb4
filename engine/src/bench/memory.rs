//! The most memory that a process has had: of the machine by the kernel, of a card by looking often.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tch::Device;

use crate::device;

/// Between two looks at a card.
const EVERY: Duration = Duration::from_millis(5);

/// Has the kernel forget the peak of this process so far.
pub fn forget_peak() {
    // Where the kernel does not let it, the peak is that of the whole process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most that this process has had in memory, in bytes, files that it has mapped included.
pub fn peak() -> Option<u64> {
    status("VmHWM")
}

/// What of this process's memory is its own now and belongs to no file, in bytes.
pub fn own() -> Option<u64> {
    status("RssAnon")
}

fn status(key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(Path::new("/proc/self/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

/// Memory of a card in use, as NVML has it; none on a CPU.
fn used(device: Device) -> Option<u64> {
    match device {
        Device::Cuda(n) => device::gpu(n)?.memory_used,
        _ => None,
    }
}

/// What a candidate has of a card's memory: what the card's grows by while this candidate alone works.
#[derive(Debug, Default)]
pub struct Share {
    now: u64,
    pub peak: u64,
}

/// Looks at the card while one candidate works.
pub struct Watch {
    before: u64,
    own: u64,
    most: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
    device: Device,
}

impl Watch {
    /// Begins, for a candidate that has `share` so far; none where there is no card to look at.
    pub fn begin(device: Device, share: &Share) -> Option<Self> {
        let before = used(device)?;
        let (most, over) = (Arc::new(AtomicU64::new(before)), Arc::new(AtomicBool::new(false)));
        let (seen, done) = (Arc::clone(&most), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                seen.fetch_max(used(device).unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(EVERY);
            }
        });
        Some(Self { before, own: share.now, most, over, thread: Mutex::new(Some(thread)), device })
    }

    /// Ends, and notes what was seen.
    pub fn end(self, share: &mut Share) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.lock().ok().and_then(|mut thread| thread.take()) {
            // It cannot panic, and if it did what it saw still counts.
            let _ = thread.join();
        }
        let since = |used: u64| (used + self.own).saturating_sub(self.before);
        share.now = used(self.device).map_or(share.now, since);
        share.peak = share.peak.max(since(self.most.load(Ordering::Relaxed))).max(share.now);
    }
}
