//! The modules of a Qwen-1 model by their paths, and which of them an argument names.

/// Linear layers of a block, beneath `transformer.h.N.`: what LoRA can adapt.
pub const LINEAR: [&str; 5] = ["attn.c_attn", "attn.c_proj", "mlp.w1", "mlp.w2", "mlp.c_proj"];
/// Its norms.
const NORMS: [&str; 2] = ["ln_1", "ln_2"];
/// What lies around the blocks; without `lm_head` where the embedding is tied to it.
const AROUND: [&str; 3] = ["transformer.wte", "transformer.ln_f", "lm_head"];

/// The path of a module of block `block`: `transformer.h.0.attn.c_attn`.
pub fn in_block(block: impl std::fmt::Display, module: &str) -> String {
    format!("transformer.h.{block}.{module}")
}

/// Whether LoRA belongs on the module at `path`: a target names it when the path is the target or ends in `.target`.
pub fn matches_target(path: &str, targets: &[String]) -> bool {
    targets.iter().any(|target| ends_in(path, target))
}

/// Whether `lora_modules_to_save` names the module at `path`: any end of the path does, but not the empty one.
pub fn is_saved(path: &str, names: &[String]) -> bool {
    names.iter().any(|name| !name.is_empty() && path.ends_with(name.as_str()))
}

/// Whether `target` names a linear layer of a model with enough blocks.
pub fn names_linear(target: &str) -> bool {
    LINEAR.iter().any(|module| ends_in(&in_block(block(target), module), target))
}

/// Whether `name` names a module of a model with enough blocks.
pub fn names_module(name: &str) -> bool {
    let blocks = LINEAR.iter().chain(&NORMS).map(|module| in_block(block(name), module));
    let name = [name.to_owned()];
    blocks.chain(AROUND.map(str::to_owned)).any(|path| is_saved(&path, &name))
}

fn ends_in(path: &str, target: &str) -> bool {
    path.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The number of the block that is in `path`; 0 where there is none.
fn block(path: &str) -> u32 {
    path.split('.').find_map(|part| part.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_the_end_of_a_path() {
        let target = |t: &str| vec![t.to_owned()];
        assert!(matches_target("transformer.h.0.attn.c_attn", &target("c_attn")));
        assert!(matches_target("transformer.h.0.attn.c_attn", &target("attn.c_attn")));
        assert!(matches_target("lm_head", &target("lm_head")));
        assert!(!matches_target("transformer.h.0.attn.c_attn", &target("attn")));
        assert!(!matches_target("transformer.h.0.xc_attn", &target("c_attn")));
        assert!(!matches_target("transformer.h.0.attn", &[]));
    }

    #[test]
    fn what_no_model_has_is_known_without_one() {
        for named in ["c_attn", "w1", "mlp.c_proj", "h.23.attn.c_proj", "transformer.h.7.mlp.w2"] {
            assert!(names_linear(named) && names_module(named), "{named}");
        }
        for other in
            ["xyz", "attn", "_attn", "", "lm_head", "attn.w1", "h.01.mlp.w1", "评论", "h.99999999999.w1"]
        {
            assert!(!names_linear(other), "{other}");
        }
        for named in ["wte", "ln_f", "lm_head", "ln_1", "h.3.ln_2", "head"] {
            assert!(names_module(named), "{named}");
        }
        for other in ["xyz", "", "mlp", "h.01.ln_1"] {
            assert!(!names_module(other), "{other}");
        }
    }
}
