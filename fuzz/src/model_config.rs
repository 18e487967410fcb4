//! `config.json` of a model.

use qwen_tui::args::modules::LINEAR;
use qwen_tui::model::QwenConfig;

use super::place::{dir, for_people, write};

/// No Qwen has as many parameters.
const PARAMETERS: i64 = 1 << 50;

pub fn run(bytes: &[u8]) {
    write("model/config.json", bytes);
    let Some(config) = for_people(QwenConfig::load(&dir().join("model"))) else { return };
    // What passes the checks is never so large that its sizes overflow.
    for (name, shape) in config.tensors() {
        let size = shape.iter().try_fold(1i64, |size, n| size.checked_mul(*n));
        assert!(size.is_some_and(|size| (1..PARAMETERS).contains(&size)), "{name} {shape:?}");
    }
    assert_eq!(config.linear_modules().len() as i64, LINEAR.len() as i64 * config.num_hidden_layers);
}
