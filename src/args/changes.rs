//! What may not change when a run goes on.

use serde_json::Value;

use super::field::{Field, Group, Status};
use super::sft::{FIELDS, SftArgs};

/// Arguments that a resumed run may be given anew: where it is looked for, how often it is saved, who is told of
/// it, and the machine.
const FREE: [&str; 12] = [
    "resume_from_checkpoint",
    "output_dir",
    "add_output_dir_suffix",
    "save_strategy",
    "save_steps",
    "save_minutes",
    "save_total_limit",
    "logging_dir",
    "report_to",
    "device",
    "threads",
    "preprocess_num_proc",
];

/// Where model and data lie: what is found there is compared when the run goes on, and not its path.
const PLACES: [&str; 7] = [
    "model_id_or_path",
    "model_revision",
    "model_cache_dir",
    "hub",
    "dataset",
    "custom_train_dataset_path",
    "custom_val_dataset_path",
];

/// An argument with two values.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub key: &'static str,
    pub old: Value,
    pub new: Value,
}

impl SftArgs {
    /// The arguments in which `new` would make another run of this one.
    pub fn changes(&self, new: &SftArgs) -> Vec<Change> {
        self.differing(new).into_iter().filter(|change| !PLACES.contains(&change.key)).collect()
    }

    /// The arguments by which `new` looks for model or data elsewhere.
    pub fn moved(&self, new: &SftArgs) -> Vec<Change> {
        self.differing(new).into_iter().filter(|change| PLACES.contains(&change.key)).collect()
    }

    fn differing(&self, new: &SftArgs) -> Vec<Change> {
        // Answers choose the best checkpoint where evaluations write them.
        let answers = new.predict_with_generate;
        let (old, new) = (self.to_json(), new.to_json());
        let binds = |f: &Field| match f.group {
            Group::Generation => answers || f.name == "predict_with_generate",
            group => group != Group::Elsewhere,
        };
        FIELDS
            .iter()
            .filter(|f| f.status == Status::Works && binds(f) && !FREE.contains(&f.name))
            .map(|f| Change { key: f.name, old: old[f.name].clone(), new: new[f.name].clone() })
            .filter(|change| change.old != change.new)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::load_sft;
    use super::*;

    fn args(more: &str) -> SftArgs {
        let words = format!("--model_type qwen-7b --dataset a {more}");
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        load_sft(None, &words).unwrap().args
    }

    #[test]
    fn what_makes_another_run_is_told_with_both_values() {
        let old = args("");
        let free = "--save_total_limit 5 --threads 2 --output_dir b --device cpu --preprocess_num_proc 3 --max_new_tokens 7";
        assert_eq!(old.changes(&args(free)), []);
        let elsewhere = args("--model_id_or_path /new --custom_val_dataset_path b");
        assert_eq!(old.changes(&elsewhere), []);
        let moved: Vec<_> = old.moved(&elsewhere).iter().map(|c| c.key).collect();
        assert_eq!(moved, ["model_id_or_path", "custom_val_dataset_path"]);
        let changes = old.changes(&args("--learning_rate 3e-4 --lora_alpha 16"));
        let told: Vec<_> = changes.iter().map(|c| format!("{} {} {}", c.key, c.old, c.new)).collect();
        assert_eq!(told, ["lora_alpha 32 16", "learning_rate 0.0001 0.0003"]);
        let answered = "--predict_with_generate true --max_new_tokens 7";
        let keys = |old: &SftArgs, new| old.changes(&args(new)).iter().map(|c| c.key).collect::<Vec<_>>();
        assert_eq!(keys(&old, answered), ["predict_with_generate", "max_new_tokens"]);
        assert_eq!(keys(&args(answered), "--predict_with_generate true"), ["max_new_tokens"]);
        assert_eq!(keys(&args(answered), ""), ["predict_with_generate"]);
    }
}
