//! How long a model takes to load from a warm cache, and how much memory it takes meanwhile.

use std::time::Instant;

use qwen_tui::error::Result;
use serde_json::json;
use tch::{Kind, Tensor};

use super::job::Job;
use super::memory;
use super::part::{Talk, wait};
use crate::device;
use crate::model::{QwenConfig, weights};

/// Loads that are timed.
const TIMES: usize = 3;

pub fn serve(job: &Job, talk: &Talk) -> Result<()> {
    let device = device::choose(&job.device)?;
    let config = QwenConfig::load(&job.model_dir)?;
    let kind = device::kind(&job.dtype, device)?;
    // The driver's own start belongs to no load.
    drop(Tensor::zeros([1], (Kind::Float, device)));
    wait(device);
    let before = memory::own();
    memory::forget_peak();
    let mut seconds = Vec::new();
    let (mut bytes, mut peak, mut own) = (0, None, None);
    for time in 0..TIMES {
        let began = Instant::now();
        let base = weights::load(&job.model_dir, &config, kind, device)?;
        wait(device);
        seconds.push(began.elapsed().as_secs_f64());
        if time == 0 {
            peak = memory::peak();
            own = memory::own();
            bytes = base.values().map(|t| t.numel() * t.kind().elt_size_in_bytes()).sum();
        }
    }
    talk.tell(
        &json!({"seconds": seconds, "bytes": bytes, "peak": peak, "own_before": before, "own_after": own}),
    )
}
