use serde_json::json;

use super::super::adapter_config::Bias;
use super::*;

fn config() -> AdapterConfig {
    AdapterConfig {
        r: 8,
        lora_alpha: 32.0,
        lora_dropout: 0.05,
        target_modules: vec!["c_attn".into()],
        bias: Bias::None,
        modules_to_save: vec![],
        lora_dtype: Some("fp32".into()),
        base_model_name_or_path: None,
    }
}

fn checkpoint(layout: Layout, config: &AdapterConfig) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let weights = config.write(dir.path(), layout).unwrap();
    fs::write(weights, "weights").unwrap();
    dir
}

#[test]
fn both_layouts_come_back() {
    let dir = checkpoint(Layout::Swift, &config());
    let found = find_adapter(dir.path()).unwrap();
    assert_eq!((found.layout, found.name.as_str(), &found.config), (Layout::Swift, "default", &config()));
    assert_eq!(found.weights, dir.path().join("default/adapter_model.safetensors"));
    assert_eq!((found.config.lora_alpha, found.config.r), (32.0, 8));
    // The adapter's own folder will do.
    assert_eq!(find_adapter(&dir.path().join("default")).unwrap().weights, found.weights);

    let peft = AdapterConfig {
        lora_alpha: 0.5,
        bias: Bias::All,
        modules_to_save: vec!["lm_head".into()],
        lora_dtype: None,
        base_model_name_or_path: Some("/models/千问".into()),
        ..config()
    };
    let dir = checkpoint(Layout::Peft, &peft);
    let found = find_adapter(dir.path()).unwrap();
    assert_eq!((found.layout, &found.config), (Layout::Peft, &peft));
    assert_eq!(found.weights, dir.path().join("adapter_model.safetensors"));
}

#[test]
fn swifts_file_has_swifts_keys() {
    // As SWIFT 1.5.3 with PEFT 0.7.1 writes it for the reference's arguments.
    let expected = r#"{"alpha_pattern":{},"auto_mapping":null,"base_model_name_or_path":null,"bias":"none","enable_lora":null,"fan_in_fan_out":false,"inference_mode":false,"init_lora_weights":true,"layers_pattern":null,"layers_to_transform":null,"loftq_config":{},"lora_alpha":32,"lora_dropout":0.05,"lora_dtype":"fp32","megatron_config":null,"megatron_core":"megatron.core","modules_to_save":[],"peft_type":null,"r":8,"rank_pattern":{},"revision":null,"swift_type":"LORA","target_modules":["c_attn"],"task_type":null,"use_merged_linear":false,"use_qa_lora":false}"#;
    assert_eq!(serde_json::to_string(&config().to_json(Layout::Swift)).unwrap(), expected);
    let peft = config().to_json(Layout::Peft);
    assert_eq!((&peft["peft_type"], &peft["task_type"]), (&json!("LORA"), &json!("CAUSAL_LM")));
    // PEFT 0.7 refuses a file with keys it does not know.
    assert_eq!(peft.len(), 21);
    assert!(peft.keys().all(|k| !k.contains("swift") && k != "lora_dtype"));
}

#[test]
fn unusable_configs_are_named_with_file_and_key() {
    let dir = checkpoint(Layout::Swift, &config());
    let file = dir.path().join("default").join(CONFIG);
    let good = config().to_json(Layout::Swift);
    for (key, value) in [
        ("r", json!("8")),
        ("r", json!(0)),
        ("r", json!(-8)),
        ("r", json!(8.5)),
        ("r", json!(null)),
        ("r", json!(1e9 as u64)),
        ("lora_alpha", json!("x")),
        ("lora_alpha", json!(null)),
        ("lora_dropout", json!(1.0)),
        ("target_modules", json!(".*c_attn")),
        ("target_modules", json!([1])),
        ("bias", json!("some")),
        ("modules_to_save", json!({})),
        ("lora_dtype", json!(32)),
        ("swift_type", json!("LONGLORA")),
        ("swift_type", json!(7)),
        ("use_qa_lora", json!(true)),
        ("use_rslora", json!(true)),
        ("rank_pattern", json!({"c_attn": 4})),
        ("layers_to_transform", json!([1])),
        ("init_lora_weights", json!("pissa")),
        ("use_dora", json!(true)),
        ("kasa_config", json!({"rank": 1})),
        ("something_new", json!(1)),
    ] {
        let mut bad = good.clone();
        bad.insert(key.into(), value);
        fs::write(&file, serde_json::to_string(&bad).unwrap()).unwrap();
        let e = find_adapter(dir.path()).unwrap_err();
        let text = e.to_string();
        assert!(e.exit_code() == 2 && text.contains(CONFIG) && text.contains(key), "{key}: {text}");
    }
    for text in ["", "{", "[]", "{}", r#"{"extra_state_keys": []}"#, "\u{feff}{}"] {
        fs::write(&file, text).unwrap();
        let e = find_adapter(dir.path()).unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains(CONFIG), "{text}: {e}");
    }
    fs::write(&file, [0xff, 0xfe]).unwrap();
    assert_eq!(find_adapter(dir.path()).unwrap_err().exit_code(), 2);
}

#[test]
fn missing_files_are_named() {
    let message = |dir: &Path| {
        let e = find_adapter(dir).unwrap_err();
        assert_eq!(e.exit_code(), 2);
        e.to_string()
    };
    let dir = checkpoint(Layout::Swift, &config());
    fs::remove_file(dir.path().join("default").join(WEIGHTS)).unwrap();
    assert!(message(dir.path()).contains("weights are missing"));
    fs::write(dir.path().join("default/adapter_model.bin"), "").unwrap();
    assert!(message(dir.path()).contains("pickle"));
    fs::remove_dir_all(dir.path().join("default")).unwrap();
    assert!(message(dir.path()).contains("holds no adapter"));
    assert!(message(&dir.path().join("none")).contains("none"));
    for name in ["one", "two"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join(CONFIG), "{}").unwrap();
    }
    assert!(message(dir.path()).contains("one, two"));
}

/// SWIFT 1.5.3 applies every adapter in a folder, PEFT the root's: what is meant has to be said.
#[test]
fn of_several_adapters_none_is_taken_in_silence() {
    let refused = |dir: &Path, names: &[&str]| {
        let e = find_adapter(dir).unwrap_err();
        assert!(e.exit_code() == 2 && names.iter().all(|n| e.to_string().contains(n)), "{e}");
    };
    for (layout, names) in [
        (Layout::Swift, ["default, second", "name the folder of one"]),
        (Layout::Peft, ["its own adapter_config.json, and second", "name the folder of one"]),
    ] {
        let dir = checkpoint(layout, &config());
        let second = checkpoint(layout, &config());
        fs::rename(layout.folder(second.path()), dir.path().join("second")).unwrap();
        refused(dir.path(), &names);
        assert_eq!(find_adapter(&dir.path().join("second")).unwrap().config.r, 8);
        assert!(has_adapter(dir.path()));
        fs::remove_dir_all(dir.path().join("second")).unwrap();
        find_adapter(dir.path()).unwrap();
    }
}

#[test]
fn biases_that_peft_would_lose_are_not_saved_in_its_layout() {
    let dir = tempfile::tempdir().unwrap();
    let config = AdapterConfig { bias: Bias::LoraOnly, ..config() };
    let e = config.write(dir.path(), Layout::Peft).unwrap_err();
    assert!(e.exit_code() == 2 && e.to_string().contains("base_layer.bias"), "{e}");
    assert!(!dir.path().join(CONFIG).exists());
    config.write(dir.path(), Layout::Swift).unwrap();
}
