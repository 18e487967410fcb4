//! The commands that take the arguments of `infer`, and which of them each works with.

/// A command that takes the arguments of `infer`, or some of them.
#[derive(Debug)]
pub struct Uses {
    pub(super) command: &'static str,
    /// Whether an argument is one of them.
    pub works: fn(&str) -> bool,
    /// Whether the dtype that was trained with is the one to work with.
    pub(super) trained_dtype: bool,
    /// Whether there is nothing to do without a checkpoint.
    pub(super) needs_checkpoint: bool,
}

/// `infer`: all but where a merge goes.
pub const INFER: Uses = Uses {
    command: "infer",
    works: |key| !ONLY_MERGE.contains(&key),
    trained_dtype: true,
    needs_checkpoint: false,
};
/// `classify`: it generates nothing and reads no data set.
pub const CLASSIFY: Uses = Uses {
    command: "classify",
    works: |key| CLASSIFY_KEYS.contains(&key),
    trained_dtype: true,
    needs_checkpoint: false,
};
/// `merge-lora`: it computes no answers; weights stay in the base's own dtype.
pub const MERGE: Uses = Uses {
    command: "merge-lora",
    works: |key| MERGE_KEYS.contains(&key) || ONLY_MERGE.contains(&key),
    trained_dtype: false,
    needs_checkpoint: true,
};

const ONLY_MERGE: [&str; 2] = ["output", "overwrite"];

const MERGE_KEYS: [&str; 10] = [
    "model_type",
    "model_id_or_path",
    "model_revision",
    "model_cache_dir",
    "hub",
    "sft_type",
    "ckpt_dir",
    "load_args_from_ckpt_dir",
    "dtype",
    "threads",
];

const CLASSIFY_KEYS: [&str; 13] = [
    "model_type",
    "model_id_or_path",
    "model_revision",
    "model_cache_dir",
    "hub",
    "sft_type",
    "template_type",
    "ckpt_dir",
    "load_args_from_ckpt_dir",
    "dtype",
    "system",
    "device",
    "threads",
];
