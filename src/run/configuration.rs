//! `configuration.json` of a checkpoint: ModelScope's description of a model, with what the adapter needs to load.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::files::{pretty_json, read_json, write_atomic};
use crate::error::Result;

/// File name inside a model or a checkpoint; SWIFT takes only directories with it for checkpoints.
pub const CONFIGURATION: &str = "configuration.json";

/// The arguments SWIFT repeats under `adapter_cfg`.
const ADAPTER_ARGS: [&str; 7] =
    ["model_id_or_path", "model_revision", "sft_type", "tuner_backend", "template_type", "dtype", "system"];

/// Writes it into `checkpoint`: the base model's own (`model_dir`) where it has one, and under `adapter_cfg` the
/// arguments of the run (`args`, as in `sft_args.json`; absent ones are null) unless all parameters were trained.
pub fn write_configuration(
    checkpoint: &Path,
    model_dir: Option<&Path>,
    args: &Map<String, Value>,
) -> Result<()> {
    let own = model_dir.map(|dir| dir.join(CONFIGURATION)).filter(|f| f.is_file());
    let mut configuration: Map<String, Value> = match own {
        Some(file) => read_json(&file)?,
        None => Map::from_iter([
            ("framework".to_owned(), json!("pytorch")),
            ("task".to_owned(), json!("text-generation")),
        ]),
    };
    if args.get("sft_type").and_then(Value::as_str) != Some("full") {
        let value = |key: &str| args.get(key).cloned().unwrap_or(Value::Null);
        let adapter: Map<String, Value> = ADAPTER_ARGS.iter().map(|k| ((*k).to_owned(), value(k))).collect();
        configuration.insert("adapter_cfg".into(), Value::Object(adapter));
    }
    write_atomic(&checkpoint.join(CONFIGURATION), &pretty_json(&configuration, 4)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn written(model: Option<&str>, args: Value) -> Result<Value> {
        let dir = tempfile::tempdir().unwrap();
        let model_dir = dir.path().join("model");
        fs::create_dir(&model_dir).unwrap();
        if let Some(text) = model {
            fs::write(model_dir.join(CONFIGURATION), text).unwrap();
        }
        write_configuration(dir.path(), Some(&model_dir), args.as_object().unwrap())?;
        read_json(&dir.path().join(CONFIGURATION))
    }

    #[test]
    fn it_is_the_models_with_the_adapters_arguments() {
        let args = json!({"sft_type": "lora", "dtype": "bf16", "seed": 42, "system": "你好"});
        let c =
            written(Some(r#"{"framework":"Pytorch","task":"chat","model":{"type":"qwen"}}"#), args.clone())
                .unwrap();
        assert_eq!((&c["task"], &c["model"]["type"]), (&json!("chat"), &json!("qwen")));
        let keys: Vec<&String> = c["adapter_cfg"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ADAPTER_ARGS.iter().collect::<Vec<_>>());
        assert_eq!(
            (&c["adapter_cfg"]["system"], &c["adapter_cfg"]["model_revision"]),
            (&json!("你好"), &Value::Null)
        );
        let c = written(None, args).unwrap();
        assert_eq!((&c["framework"], &c["task"]), (&json!("pytorch"), &json!("text-generation")));
        assert_eq!(written(None, json!({"sft_type": "full"})).unwrap().get("adapter_cfg"), None);
    }

    #[test]
    fn a_broken_one_of_the_models_is_named() {
        let e = written(Some("{oops"), json!({})).unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains(CONFIGURATION), "{e}");
    }
}
