//! How much one forward pass may hold, forecast from the model's shape and the memory that is left.

use tch::{Device, Kind};

use super::step::Limits;
use crate::device;
use crate::model::QwenConfig;

/// Beyond this many tokens a pass gains nothing on a CPU, or on a GPU.
const ENOUGH: (usize, usize) = (8_192, 65_536);

/// Activations kept for the way back, in bytes a token: of all blocks, or with `recompute` of one block and the
/// inputs of the others. Counted from the tensors that autograd keeps in one block: about 14 of width `h`, 5 of the
/// MLP's width, and 8 of width `h` in fp32 for norms and rotation.
fn bytes_per_token(config: &QwenConfig, kind: Kind, recompute: bool) -> f64 {
    let (h, f, element) =
        (config.hidden_size as f64, config.mlp_size() as f64, kind.elt_size_in_bytes() as f64);
    let block = (14.0 * h + 5.0 * f) * element + 8.0 * h * 4.0;
    let layers = config.num_hidden_layers as f64;
    if recompute { block + layers * h * element } else { block * layers }
}

/// Limits of a training pass (`training`), or of a pass that keeps nothing.
pub fn limits(config: &QwenConfig, kind: Kind, device: Device, training: bool, recompute: bool) -> Limits {
    // A power of two, so that the split of a step, and with it the last digits of its sums, does not follow every
    // movement of the free memory.
    let half = device::available_memory(device) / 2;
    let budget = half.checked_ilog2().map_or(0.0, |n| 2f64.powi(n as i32));
    let per_token = if training {
        bytes_per_token(config, kind, recompute)
    } else {
        bytes_per_token(config, kind, false) / config.num_hidden_layers as f64
    };
    let enough = if device == Device::Cpu { ENOUGH.0 } else { ENOUGH.1 };
    // Logits, their log-softmax and its gradient in fp32, and the logits as computed.
    let per_target = config.vocab_size as f64 * (3.0 * 4.0 + kind.elt_size_in_bytes() as f64);
    Limits {
        tokens: ((budget * 0.7 / per_token) as usize).clamp(1, enough),
        targets: ((budget * 0.3 / per_target) as usize).clamp(1, enough),
    }
}
