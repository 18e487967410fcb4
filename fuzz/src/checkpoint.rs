//! The small files of a checkpoint and of a model beside its weights. The first byte says which one it is.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use qwen_tui::args::{SftArgs, load_sft};
use qwen_tui::job::checkpoints::RunDetails;
use qwen_tui::job::initial_adapter::InitialAdapter;
use qwen_tui::model::weight_files;
use qwen_tui::run::{
    AdapterConfig, RunDir, TrainerState, clean_partial, find_adapter, generation_config, list_checkpoints,
    read_json, resumable, verify_checkpoint, write_configuration,
};
use serde_json::{Map, Value};

use super::place::{choice, dir, for_people, message_for_people, write};

const FILES: [&str; 8] = [
    "trainer_state.json",
    "adapter_config.json",
    "default/adapter_config.json",
    "checksums.json",
    "configuration.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "resume.json",
];

pub fn run(bytes: &[u8]) {
    let (how, rest) = choice(bytes);
    let run = dir().join("output");
    let checkpoint = run.join("checkpoint-7");
    // What the last input has left.
    let _ = fs::remove_dir_all(&checkpoint);
    write("output/sft_args.json", b"{}");
    write("output/checkpoint-7/default/adapter_model.safetensors", b"w");
    write("output/checkpoint-7/adapter_model.safetensors", b"w");
    write("output/checkpoint-7/f", b"x");
    let name = FILES[usize::from(how % 8)];
    let file = write(&format!("output/checkpoint-7/{name}"), rest);

    match name {
        "trainer_state.json" => {
            if let Some(state) = for_people(TrainerState::read(&checkpoint)) {
                state.write(&checkpoint).expect("there is room");
                assert_eq!(TrainerState::read(&checkpoint).expect("what was written"), state);
            }
        }
        "adapter_config.json" | "default/adapter_config.json" => adapter(&checkpoint, &file),
        "checksums.json" => {
            for_people(verify_checkpoint(&checkpoint));
        }
        "configuration.json" => {
            for_people(write_configuration(&checkpoint, Some(&checkpoint), &Map::new()));
        }
        "generation_config.json" => {
            generation_config(arguments(), 7, &checkpoint);
        }
        "model.safetensors.index.json" => {
            if let Some(files) = for_people(weight_files(&checkpoint)) {
                assert!(files.iter().all(|(file, _)| file.parent() == Some(checkpoint.as_path())));
            }
        }
        _ => drop(for_people(read_json::<Value>(&file))),
    }
    for_people(resumable(&checkpoint));
    let opened = RunDir::open(&run).expect("a run");
    clean_partial(&opened);
    list_checkpoints(&opened);
    // All that the cockpit shows of the run.
    if how >= 224
        && let Err(why) = RunDetails::read(&run).ready
    {
        message_for_people(&why);
    }
}

/// Those of some training.
fn arguments() -> &'static SftArgs {
    static READ: OnceLock<SftArgs> = OnceLock::new();
    READ.get_or_init(|| {
        let words = ["--model_type", "qwen-1_8b", "--dataset", "a"].map(str::to_owned);
        load_sft(None, &words).expect("arguments").args
    })
}

fn adapter(checkpoint: &Path, file: &Path) {
    if let Some((config, layout)) = for_people(AdapterConfig::read(file)) {
        let there = dir().join("again");
        if for_people(config.write(&there, layout)).is_some() {
            let file = layout.folder(&there).join("adapter_config.json");
            let (again, same) = AdapterConfig::read(&file).expect("what was written");
            assert_eq!(
                (again.r, again.lora_alpha, &again.target_modules),
                (config.r, config.lora_alpha, &config.target_modules)
            );
            assert_eq!(same, layout);
        }
    }
    for_people(find_adapter(checkpoint));
    let mut args = arguments().clone();
    args.init_adapter = Some(checkpoint.display().to_string());
    if let Some(initial) = InitialAdapter::of(&args) {
        for_people(initial.look());
        message_for_people(&format!("init_adapter{}", initial.said()));
    }
}
