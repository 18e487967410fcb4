//! The names of an adapter's tensors.
//!
//! | | LoRA weight | bias of a LoRA layer | module saved whole |
//! |---|---|---|---|
//! | here | `transformer.h.0.attn.c_attn.lora_A` | `transformer.h.0.attn.c_attn.bias` | `lm_head.weight` |
//! | SWIFT | `transformer.h.0.attn.c_attn.lora_A.default.weight` | `transformer.h.0.attn.c_attn.base_layer.bias` | `lm_head.weight` |
//! | PEFT | as here, in `base_model.model.` and `.weight` | as SWIFT, after `base_model.model.` | `base_model.model.lm_head.weight` |

use super::adapter::{DEFAULT_ADAPTER, Layout};
use crate::args::modules::matches_target;

const PEFT_PREFIX: &str = "base_model.model.";

/// Our name of a tensor, from its key in a file of either layout. A name of ours stays as it is.
pub fn canonical_key(file_key: &str) -> String {
    let key = file_key.strip_prefix(PEFT_PREFIX).unwrap_or(file_key);
    let mut out: Vec<&str> = Vec::new();
    let mut parts = key.split('.');
    while let Some(part) = parts.next() {
        match part {
            "lora_A" | "lora_B" => {
                // `.weight` follows, after the adapter's name where the layout has one.
                out.push(part);
                break;
            }
            "base_layer" => {}
            // The adapter's name follows.
            "modules_to_save" => drop(parts.next()),
            // SWIFT before 1.5.0.
            _ if part.starts_with("loramodule_") => {}
            _ => out.push(part),
        }
    }
    out.join(".")
}

/// The key of a tensor in a file of `layout`, from our name. `targets` are the modules with LoRA: their biases lie
/// in the wrapped layer.
pub fn file_key(canonical: &str, layout: Layout, targets: &[String]) -> String {
    let (module, leaf) = canonical.rsplit_once('.').unwrap_or(("", canonical));
    let key = match (leaf, layout) {
        ("lora_A" | "lora_B", Layout::Swift) => format!("{canonical}.{DEFAULT_ADAPTER}.weight"),
        ("lora_A" | "lora_B", Layout::Peft) => format!("{canonical}.weight"),
        ("bias", _) if matches_target(module, targets) => format!("{module}.base_layer.bias"),
        _ => canonical.to_owned(),
    };
    match layout {
        Layout::Swift => key,
        Layout::Peft => format!("{PEFT_PREFIX}{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        let targets = ["c_attn".to_owned(), "mlp.c_proj".to_owned()];
        for (ours, swift, peft) in [
            (
                "transformer.h.0.attn.c_attn.lora_A",
                "transformer.h.0.attn.c_attn.lora_A.default.weight",
                "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight",
            ),
            (
                "transformer.h.23.mlp.c_proj.lora_B",
                "transformer.h.23.mlp.c_proj.lora_B.default.weight",
                "base_model.model.transformer.h.23.mlp.c_proj.lora_B.weight",
            ),
            (
                "transformer.h.0.attn.c_attn.bias",
                "transformer.h.0.attn.c_attn.base_layer.bias",
                "base_model.model.transformer.h.0.attn.c_attn.base_layer.bias",
            ),
            (
                "transformer.h.0.attn.c_proj.bias",
                "transformer.h.0.attn.c_proj.bias",
                "base_model.model.transformer.h.0.attn.c_proj.bias",
            ),
            ("lm_head.weight", "lm_head.weight", "base_model.model.lm_head.weight"),
        ] {
            assert_eq!(file_key(ours, Layout::Swift, &targets), swift);
            assert_eq!(file_key(ours, Layout::Peft, &targets), peft);
            for key in [ours, swift, peft] {
                assert_eq!(canonical_key(key), ours);
            }
        }
        for old in
            ["h.0.c_attn.loramodule_default.lora_A", "h.0.c_attn.loramodule_default.lora_A.default.weight"]
        {
            assert_eq!(canonical_key(old), "h.0.c_attn.lora_A");
        }
        assert_eq!(canonical_key("lm_head.modules_to_save.default.weight"), "lm_head.weight");
        assert_eq!(canonical_key(""), "");
    }

    #[test]
    fn the_reference_adapters_keys_are_ours_and_back() {
        let Some(file) = crate::data::shared("swift-golden/adapter_last.safetensors") else { return };
        let bytes = std::fs::read(file).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.len(), 8);
        for key in tensors.names() {
            let ours = canonical_key(key);
            assert!(ours.ends_with(".c_attn.lora_A") || ours.ends_with(".c_attn.lora_B"), "{ours}");
            assert_eq!(file_key(&ours, Layout::Swift, &["c_attn".to_owned()]), key);
        }
    }
}
