//! Passes that do not fit the device's memory: they are split, and done again.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use qwen_tui::data::Tokenizer;
use qwen_tui::error::Error;
use qwen_tui::job::human;
use tch::Device;

use super::step::{Limits, WeightedRow};
use crate::{device, shim, words};

/// Token ids of a row's beginning that are shown.
const SHOWN: usize = 24;

/// The device has no memory left: libtorch's words.
#[derive(Debug)]
pub struct OutOfMemory(pub String);

/// What `compute` returns. tch tells libtorch's errors by panics: one of memory is caught here, with all that was
/// computed released; others go on their way.
///
/// # Errors
/// Memory ran out.
pub fn caught<T>(compute: impl FnOnce() -> T) -> Result<T, OutOfMemory> {
    catch_unwind(AssertUnwindSafe(compute)).map_err(|payload| {
        let text = words::of_panic(payload.as_ref());
        if !words::is_of_memory(&text) {
            resume_unwind(payload);
        }
        // What is in pieces goes back to the driver, where there is one.
        let _ = shim::empty_cuda_cache();
        OutOfMemory(text)
    })
}

/// Limits within which a pass like that of the rows `batch`, which does not fit, has half of the rows.
///
/// None where it has one row only.
pub fn halved(limits: Limits, rows: &[WeightedRow<'_>], batch: &[usize]) -> Option<Limits> {
    let longest = batch.iter().map(|&i| rows[i].ids.len()).max()?;
    let tokens = limits.tokens.min(batch.len() * longest / 2);
    (batch.len() > 1).then_some(Limits { tokens, ..limits })
}

/// What is said where passes become smaller.
pub fn told(batch: &[usize], limits: Limits, device: Device, error: &OutOfMemory) -> String {
    format!(
        "{} in one pass do not fit the memory of {}: passes have at most {} tokens from here on, which gives the same \
         gradient ({})",
        human::counted(batch.len() as u64, "row"),
        device::label(device),
        limits.tokens,
        words::of_memory(&error.0)
    )
}

/// The error of one row that does not fit: which it is of the `rows` ("training row 17"), how long, and the memory.
pub fn too_long(
    row: &str,
    ids: &[u32],
    tokenizer: Option<&Tokenizer>,
    recompute: bool,
    device: Device,
    error: &OutOfMemory,
) -> Error {
    let mut text = format!("{row} ({} tokens", ids.len());
    if let Some(tokenizer) = tokenizer {
        let begin = tokenizer.decode(&ids[..ids.len().min(SHOWN)]);
        // Writing into a String cannot fail.
        let _ = write!(text, ", {:?}", format!("{}…", begin.trim_end_matches('\u{fffd}')));
    }
    let recompute = if recompute { "" } else { "gradient_checkpointing true, " };
    Error::user(format!(
        "{text}) does not fit the memory of {} by itself, of which {} are left: {}; lower max_length, or use {recompute}\
         dtype bf16 or a device with more memory",
        device::label(device),
        human::bytes(device::available_memory(device)),
        words::of_memory(&error.0)
    ))
}

#[cfg(test)]
#[path = "fit_tests.rs"]
pub(crate) mod tests;
