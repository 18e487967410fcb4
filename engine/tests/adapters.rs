//! Adapters as SWIFT and PEFT know them: the names in their files, and files of theirs that load here.
//! `tests/interop` shows with the Python packages themselves what is only written down here.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use qwen_tui::error::Result;
use qwen_tui::run::{AdapterConfig, Bias, Layout, file_key};
use qwen_tui_engine::model::adapter::attach;
use qwen_tui_engine::model::{QwenConfig, Trainable, weights};
use safetensors::SafeTensors;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use common::{Normal, SMALL, one_thread, train, write_model, write_vocabulary};

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        one_thread();
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        write_vocabulary(Path::new(&bench.path("vocabulary")), &["很好", "太差"]);
        write_model(Path::new(&bench.path("model")), SMALL, Path::new(&bench.path("vocabulary")));
        let rows =
            (0..8).map(|i| format!("{}\n", json!({"query": format!("很好{i}"), "response": "positive"})));
        std::fs::write(bench.path("rows.jsonl"), rows.collect::<String>()).unwrap();
        bench
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn checkpoint(&self, more: &[&str]) -> std::path::PathBuf {
        #[rustfmt::skip]
        let always = [
            "--model_type", "qwen-1_8b", "--model_id_or_path", &self.path("model"), "--dtype", "fp32", "--device", "cpu",
            "--threads", "1", "--custom_train_dataset_path", &self.path("rows.jsonl"), "--train_dataset_sample", "-1",
            "--max_steps", "1", "--gradient_accumulation_steps", "2", "--learning_rate", "1e-2",
            "--output_dir", &self.path("out"),
        ];
        let flags: Vec<&str> = always.iter().chain(more).copied().collect();
        train(&flags).0.checkpoint(1)
    }

    fn base(&self) -> (QwenConfig, weights::Named) {
        let model = self.path("model");
        let config = QwenConfig::load(Path::new(&model)).unwrap();
        let base = weights::load(Path::new(&model), &config, Kind::Float, Device::Cpu).unwrap();
        (config, base)
    }

    /// The adapter in `name`, over the base.
    fn attached(&self, name: &str) -> Result<Trainable> {
        let (config, base) = self.base();
        attach(Path::new(&self.path(name)), &config, &base, Kind::Float, Device::Cpu)
    }

    /// An adapter's folder in PEFT's layout with `tensors` under canonical names, `change` in its config.
    fn peft(&self, name: &str, tensors: &BTreeMap<String, Tensor>, change: &[(&str, serde_json::Value)]) {
        let targets = vec!["c_attn".to_owned()];
        let config = AdapterConfig {
            r: 2,
            lora_alpha: 6.0,
            lora_dropout: 0.0,
            target_modules: targets.clone(),
            bias: Bias::None,
            modules_to_save: vec![],
            lora_dtype: None,
            base_model_name_or_path: None,
        };
        let dir = self.dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        let file = config.write(&dir, Layout::Peft).unwrap();
        let named = tensors.iter().map(|(n, t)| (file_key(n, Layout::Peft, &targets), t.shallow_clone()));
        weights::save(&file, &named.collect()).unwrap();
        let mut json = config.to_json(Layout::Peft);
        json.extend(change.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        std::fs::write(dir.join("adapter_config.json"), serde_json::to_string(&json).unwrap()).unwrap();
    }
}

/// Both halves of every `c_attn` and its bias, under canonical names.
fn c_attn(biases: bool) -> BTreeMap<String, Tensor> {
    let mut normal = Normal::new(7);
    let (hidden, mut made) = (SMALL.hidden, BTreeMap::new());
    for i in 0..SMALL.layers {
        let module = format!("transformer.h.{i}.attn.c_attn");
        made.insert(format!("{module}.lora_A"), normal.tensor(&[2, hidden], 0.3, 0.0));
        made.insert(format!("{module}.lora_B"), normal.tensor(&[3 * hidden, 2], 0.3, 0.0));
        if biases {
            made.insert(format!("{module}.bias"), normal.tensor(&[3 * hidden], 0.3, 0.0));
        }
    }
    made
}

fn keys(file: &Path) -> Vec<String> {
    let bytes = std::fs::read(file).unwrap();
    let mut names: Vec<String> =
        SafeTensors::deserialize(&bytes).unwrap().names().iter().map(|&n| n.to_owned()).collect();
    names.sort();
    names
}

#[test]
fn all_linear_layers_are_named_and_biases_lie_in_the_wrapped_layer() {
    let bench = Bench::new();
    let (config, _) = bench.base();
    for (backend, folder, before, after) in
        [("swift", "default", "", ".default.weight"), ("peft", "", "base_model.model.", ".weight")]
    {
        let checkpoint = bench.checkpoint(&[
            "--lora_target_modules",
            "ALL",
            "--lora_bias_trainable",
            "all",
            "--lora_modules_to_save",
            "ln_f",
            "--tuner_backend",
            backend,
        ]);
        let said = common::json(&checkpoint.join(folder).join("adapter_config.json"));
        assert_eq!(said["target_modules"], json!(["c_attn", "c_proj", "w1", "w2"]));
        assert_eq!((&said["bias"], &said["modules_to_save"]), (&json!("all"), &json!(["ln_f"])));
        let mut expected = vec![format!("{before}transformer.ln_f.weight")];
        for module in config.linear_modules() {
            expected.extend(["lora_A", "lora_B"].map(|half| format!("{before}{module}.{half}{after}")));
            if module.ends_with("c_attn") {
                expected.push(format!("{before}{module}.base_layer.bias"));
            }
        }
        expected.sort();
        assert_eq!(keys(&checkpoint.join(folder).join("adapter_model.safetensors")), expected, "{backend}");
        // What was written is what is read.
        let made = attach(&checkpoint, &config, &bench.base().1, Kind::Float, Device::Cpu).unwrap();
        assert_eq!(made.names().count(), expected.len());
    }
}

#[test]
fn biases_of_the_layers_with_lora_come_along_where_peft_kept_them() {
    let bench = Bench::new();
    let lora_only = [("bias", json!("lora_only"))];
    bench.peft("kept", &c_attn(true), &lora_only);
    let made = bench.attached("kept").unwrap().export(Kind::Float);
    assert_eq!(made.keys().collect::<Vec<_>>(), c_attn(true).keys().collect::<Vec<_>>());
    for (name, expected) in c_attn(true) {
        assert_eq!(made[&name], expected, "{name}");
    }
    // As PEFT 0.7.1 saves it: the biases are those of the base.
    bench.peft("lost", &c_attn(false), &lora_only);
    assert_eq!(bench.attached("lost").unwrap().names().count(), c_attn(false).len());
    let mut torn = c_attn(true);
    torn.remove("transformer.h.0.attn.c_attn.bias");
    bench.peft("torn", &torn, &lora_only);
    let message = bench.attached("torn").unwrap_err().to_string();
    assert!(message.contains("transformer.h.0.attn.c_attn.bias is missing"), "{message}");
}

#[test]
fn a_setting_that_is_not_known_here_is_refused_by_its_name() {
    let bench = Bench::new();
    for (i, (key, value)) in [
        ("use_dora", json!(true)),
        ("use_rslora", json!(true)),
        ("rank_pattern", json!({"c_attn": 4})),
        ("layers_to_transform", json!([0])),
        ("lora_bias", json!(true)),
        ("exclude_modules", json!(["h.0"])),
        ("made_up_tomorrow", json!("x")),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("variant-{i}");
        bench.peft(&name, &c_attn(false), &[(key, value)]);
        let error = bench.attached(&name).unwrap_err();
        let message = error.to_string();
        assert!(error.exit_code() == 2 && message.contains(key) && message.contains(&name), "{message}");
    }
    // What PEFT 0.21 writes beside them when they are at rest.
    bench.peft(
        "at-rest",
        &c_attn(false),
        &[
            ("use_dora", json!(false)),
            ("exclude_modules", json!(null)),
            ("trainable_token_indices", json!(null)),
            ("made_up_tomorrow", json!(null)),
            ("qalora_group_size", json!(16)),
            ("peft_version", json!("0.21.2")),
        ],
    );
    bench.attached("at-rest").unwrap();
}

#[test]
fn a_module_is_trained_whole_or_by_lora() {
    let bench = Bench::new();
    bench.peft("both", &c_attn(false), &[("modules_to_save", json!(["c_attn"]))]);
    let message = bench.attached("both").unwrap_err().to_string();
    assert!(message.contains("transformer.h.0.attn.c_attn has LoRA already"), "{message}");
}
