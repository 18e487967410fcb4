//! A model directory with its weights in another dtype.

use std::path::Path;

use qwen_tui::error::Result;
use qwen_tui::job::inputs::check_model_dir;
use tch::Device;

use super::beside;
use super::config::QwenConfig;
use super::create::in_new_directory;
use super::weights;
use crate::device;

/// Copies `model` to the new directory `out` with its weights as `dtype`.
///
/// # Errors
/// An `out` that is not new (`model` itself above all), a model that is not whole, a disk that is full: nothing is
/// left behind.
pub fn convert(model: &Path, out: &Path, dtype: &str) -> Result<()> {
    check_model_dir(model)?;
    let kind = device::kind(dtype, Device::Cpu).map_err(|e| e.context("--dtype"))?;
    QwenConfig::load(model)?;
    in_new_directory(out, |dir| {
        let tensors = weights::load_except(model, kind, |_| false)?;
        beside::copy(model, dir)?;
        weights::save(&dir.join("model.safetensors"), &tensors)
    })
}
