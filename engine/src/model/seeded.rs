//! Numbers that a seed decides, drawn from libtorch's generator.

use std::sync::{Mutex, PoisonError};

/// Seeds libtorch's generator and draws. A process has one generator for all its threads: whoever else draws so waits.
pub fn seeded<T>(seed: u64, draw: impl FnOnce() -> T) -> T {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed as i64);
    draw()
}
