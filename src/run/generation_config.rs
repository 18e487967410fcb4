//! `generation_config.json` of a checkpoint: how SWIFT has the trained model generate.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::files::read_json;
use crate::args::SftArgs;

/// File name inside a model or a checkpoint.
pub const GENERATION_CONFIG: &str = "generation_config.json";

/// The keys of transformers' `GenerationConfig` (4.36) that follow from the arguments, with its defaults.
fn defaults() -> [(&'static str, Value); 7] {
    [
        ("do_sample", json!(false)),
        ("max_new_tokens", Value::Null),
        ("num_beams", json!(1)),
        ("repetition_penalty", json!(1.0)),
        ("temperature", json!(1.0)),
        ("top_k", json!(50)),
        ("top_p", json!(1.0)),
    ]
}

/// What a base model's own file says beyond transformers' keys: SWIFT keeps these and replaces all others.
const OF_QWEN: [&str; 3] = ["chat_format", "max_window_size", "stop_words_ids"];

/// The file's content, keys sorted: the generation arguments as far as they differ from transformers' defaults, the end
/// of text `eos` (also for padding, as SWIFT has it for Qwen-1), and what Qwen adds in `model_dir`'s own file.
///
/// Source: `llm_sft` and `set_generation_config` of SWIFT, `GenerationConfig.save_pretrained` of transformers. The key
/// `transformers_version` is left out: transformers did not write it.
pub fn generation_config(args: &SftArgs, eos: u32, model_dir: &Path) -> Map<String, Value> {
    // As in transformers, one that cannot be read is none.
    let own: Map<String, Value> = read_json(&model_dir.join(GENERATION_CONFIG)).unwrap_or_default();
    let kept = own.into_iter().filter(|(key, _)| OF_QWEN.contains(&key.as_str()));
    let args = args.to_json();
    let set = defaults().into_iter().filter_map(|(key, default)| {
        let value = args.get(key)?;
        (*value != default).then(|| (key.to_owned(), value.clone()))
    });
    let ends = ["eos_token_id", "pad_token_id"].map(|key| (key.to_owned(), eos.into()));
    let mut entries: Vec<(String, Value)> = set.chain(ends).chain(kept).collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::load_sft;

    fn args(more: &str) -> SftArgs {
        let words = format!("--model_type qwen-1_8b --dataset a {more}");
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        load_sft(None, &words).unwrap().args
    }

    /// What transformers 4.36.2 writes for the arguments of SWIFT's defaults and Qwen-1.8B's own file.
    #[test]
    fn it_is_transformers() {
        let dir = tempfile::tempdir().unwrap();
        let own = r#"{"chat_format": "raw", "stop_words_ids": [[151643]], "max_new_tokens": 512, "top_p": 0.8,
            "transformers_version": "4.31.0"}"#;
        std::fs::write(dir.path().join(GENERATION_CONFIG), own).unwrap();
        let written = serde_json::to_string(&generation_config(&args(""), 151_643, dir.path())).unwrap();
        assert_eq!(
            written,
            concat!(
                r#"{"chat_format":"raw","do_sample":true,"eos_token_id":151643,"max_new_tokens":2048,"#,
                r#""pad_token_id":151643,"stop_words_ids":[[151643]],"temperature":0.3,"top_k":20,"top_p":0.7}"#
            )
        );
    }

    #[test]
    fn defaults_are_left_out_and_a_broken_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        for broken in ["", "[]", "{\"chat_format\": "] {
            std::fs::write(dir.path().join(GENERATION_CONFIG), broken).unwrap();
            let written = generation_config(&args("--do_sample false --max_new_tokens 5"), 7, dir.path());
            let wanted = json!({"eos_token_id": 7, "max_new_tokens": 5, "pad_token_id": 7});
            assert_eq!(Value::Object(written), wanted);
        }
    }
}
