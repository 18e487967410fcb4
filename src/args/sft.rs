//! The arguments of `sft`: the table and the struct, from one list.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::field::{Field, Group, Literal::*, Status};
use super::kind::{Kind, above, below, from, int, within};
use super::{models, schedule, schedule::Scheduler};

/// `gradient_checkpointing`; in files `true`, `false` and `"auto"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
pub enum GradientCheckpointing {
    On,
    Off,
    /// Only when memory asks for it.
    Auto,
}

impl From<Value> for GradientCheckpointing {
    fn from(value: Value) -> Self {
        match value {
            Value::Bool(true) => GradientCheckpointing::On,
            Value::Bool(false) => GradientCheckpointing::Off,
            _ => GradientCheckpointing::Auto,
        }
    }
}

impl From<GradientCheckpointing> for Value {
    fn from(value: GradientCheckpointing) -> Value {
        match value {
            GradientCheckpointing::On => true.into(),
            GradientCheckpointing::Off => false.into(),
            GradientCheckpointing::Auto => "auto".into(),
        }
    }
}

/// Makes a struct of arguments and its table. A line of the list: help, name and type, group, kind, default,
/// status. Those under `derived` stand in the table only.
macro_rules! arguments {
    (
        $(#[doc = $about:literal])* struct $Struct:ident; table $TABLE:ident;
        $(
            #[doc = $help:literal] $(#[serde $serde:tt])?
            $name:ident: $ty:ty, $group:ident, $kind:expr, $default:expr, $status:expr;
        )*
        $(derived $(
            #[doc = $derived_help:literal] $derived:ident, $derived_kind:expr, $derived_status:expr;
        )*)?
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $Struct {
            $(#[doc = $help] $(#[serde $serde])? pub $name: $ty,)*
        }

        #[doc = concat!("Every argument that [`", stringify!($Struct), "`] is made of.")]
        pub static $TABLE: &[Field] = &[
            $(Field {
                name: stringify!($name), group: Group::$group, kind: $kind, default: $default,
                help: $help.trim_ascii_start(), status: $status,
            },)*
            $($(Field {
                name: stringify!($derived), group: Group::Elsewhere, kind: $derived_kind, default: Null,
                help: $derived_help.trim_ascii_start(), status: $derived_status,
            },)*)?
        ];
    };
}
pub(super) use arguments;

const MAX: i64 = i64::MAX;
/// numpy and torch take seeds of 32 bits.
const SEED: Kind = int(0, u32::MAX as i64);
const MANY: i64 = 1 << 20;
const WORKS: Status = Status::Works;
const ONE_MACHINE: Status = Status::NoEffect("one process trains on one device");
const NO_HUB: Status = Status::NoEffect("nothing is uploaded");
const NO_QUANTIZATION: Status = Status::NoEffect("weights are not quantized");
const QUANTIZED: Status = Status::Refused("quantized training is not supported");
const UPLOAD: Status = Status::Refused("uploading to a hub is not supported");
const DEEPSPEED: Status = Status::Refused("DeepSpeed belongs to PyTorch");
const COGNITION: Status = Status::Refused("the self-cognition data set is not supported");

arguments! {
    /// What `sft` trains with: SWIFT's arguments with every rule applied, and a few of our own.
    struct SftArgs; table FIELDS;

    /// Which Qwen the base model is.
    model_type: String, Model, Kind::Choice(models::MODEL_TYPES), Null, WORKS;
    /// Directory of the base model, or its id on a hub.
    model_id_or_path: Option<String>, Model, Kind::Path, Null, WORKS;
    /// Branch, tag or commit of the model on the hub; not set: the newest.
    model_revision: Option<String>, Model, Kind::Text, Null, WORKS;
    /// Directory that holds the base model's files.
    model_cache_dir: Option<String>, Model, Kind::Path, Null, WORKS;
    /// Hub whose copies and downloads come first; not set: modelscope, or hf with USE_HF=1 in the environment.
    hub: Option<String>, Model, Kind::Choice(models::HUBS), Null, WORKS;
    /// Train a small adapter beside the frozen weights (lora), or the weights themselves (full).
    sft_type: String, Model, Kind::Choice(&["lora", "full"]), Str("lora"), WORKS;
    /// Full training: this share of the weights, from the first on, stays as it is.
    freeze_parameters: f64, Training, within(0.0, 1.0), Float(0.0), WORKS;
    /// Full training: weights to train although frozen, by the beginnings of their names.
    additional_trainable_parameters: Vec<String>, Training, Kind::List, List(&[]), WORKS;
    /// Layout of a saved adapter: SWIFT's, or PEFT's.
    tuner_backend: String, Saving, Kind::Choice(&["swift", "peft"]), Str("swift"), WORKS;
    /// How query and response become the model's text; AUTO: the model type's own.
    template_type: String, Data, Kind::Choice(models::TEMPLATE_TYPES), Str("AUTO"), WORKS;
    /// Directory that runs are written to.
    output_dir: String, Saving, Kind::Path, Str("output"), WORKS;
    /// Give each run a folder of its own there: MODEL_TYPE/vN-DATE-TIME.
    add_output_dir_suffix: bool, Saving, Kind::Bool, Bool(true), WORKS;
    /// How processes talk to each other.
    ddp_backend: String, Elsewhere, Kind::Choice(&["nccl", "gloo", "mpi", "ccl"]), Str("nccl"), ONE_MACHINE;
    /// Seed of the adapter's first weights, dropout and the order of rows.
    seed: u64, Training, SEED, Int(42), WORKS;
    /// Go on with a run: last (the newest in output_dir), or the directory of a run or of one of its checkpoints.
    resume_from_checkpoint: Option<String>, Training, Kind::Path, Null, WORKS;
    /// Take the weights alone of resume_from_checkpoint: a new run, with a new optimizer and schedule.
    resume_only_model: bool, Training, Kind::Bool, Bool(false), WORKS;
    /// Number format of the base weights; AUTO: bf16 on a GPU, fp32 on the CPU.
    dtype: String, Model, Kind::Choice(&["bf16", "fp16", "fp32", "AUTO"]), Str("AUTO"), WORKS;
    /// Data sets by name or file.
    dataset: Vec<String>, Data, Kind::List, List(&[]), WORKS;
    /// Seed of the choice and order of rows taken from the data sets.
    dataset_seed: u64, Data, SEED, Int(42), WORKS;
    /// Share of rows for validation.
    dataset_test_ratio: f64, Data, within(0.0, 1.0), Float(0.01), WORKS;
    /// Rows to train on.
    train_dataset_sample: i64, Data, Kind::Limit { max: MAX }, Int(20000), WORKS;
    /// Rows to validate on; not set: dataset_test_ratio of the training rows.
    val_dataset_sample: Option<i64>, Data, Kind::Limit { max: MAX }, Null, WORKS;
    /// System prompt of the chat templates.
    system: Option<String>, Data, Kind::Text, Null, WORKS;
    /// Longest row in tokens.
    #[serde(serialize_with = "null_for_no_limit", deserialize_with = "no_limit_for_null")]
    max_length: i64, Data, Kind::Limit { max: MANY }, Int(2048), WORKS;
    /// Rows that are longer: drop them, or keep their end.
    truncation_strategy: String, Data, Kind::Choice(&["delete", "truncation_left"]), Str("delete"), WORKS;
    /// Rows that cannot be used: end with an error, or skip them and say so.
    check_dataset_strategy: String, Data,
        Kind::Choice(&["none", "discard", "error", "warning"]), Str("none"), WORKS;
    /// Files of training rows: .csv, .jsonl or .json.
    custom_train_dataset_path: Vec<String>, Data, Kind::Paths, List(&[]), WORKS;
    /// Files of validation rows.
    custom_val_dataset_path: Vec<String>, Data, Kind::Paths, List(&[]), WORKS;
    /// Rows about the model's own name to mix in.
    self_cognition_sample: i64, Elsewhere, int(0, MAX), Int(0), COGNITION;
    /// The model's name in those rows.
    model_name: Vec<Option<String>>, Elsewhere, Kind::Names, Nulls(2),
        Status::NoEffect("belongs to self_cognition_sample");
    /// The model's author in those rows.
    model_author: Vec<Option<String>>, Elsewhere, Kind::Names, Nulls(2),
        Status::NoEffect("belongs to self_cognition_sample");
    /// Bits of a quantized base model.
    quantization_bit: i64, Elsewhere, Kind::IntChoice(&[0, 4, 8]), Int(0), QUANTIZED;
    /// Number format that quantized weights are computed in.
    bnb_4bit_comp_dtype: String, Elsewhere,
        Kind::Choice(&["fp16", "bf16", "fp32", "AUTO"]), Str("AUTO"), NO_QUANTIZATION;
    /// Kind of 4-bit numbers.
    bnb_4bit_quant_type: String, Elsewhere, Kind::Choice(&["fp4", "nf4"]), Str("nf4"), NO_QUANTIZATION;
    /// Quantize the quantization's constants too.
    bnb_4bit_use_double_quant: bool, Elsewhere, Kind::Bool, Bool(true), NO_QUANTIZATION;
    /// Layers that get an adapter, by the ends of their names; ALL: every linear layer.
    lora_target_modules: Vec<String>, Lora, Kind::List, List(&["DEFAULT"]), WORKS;
    /// Rank of the adapter's two matrices: its size.
    lora_rank: usize, Lora, int(1, 65536), Int(8), WORKS;
    /// Strength of the adapter: its output is scaled by alpha / rank.
    #[serde(serialize_with = "whole_as_integer")]
    lora_alpha: f64, Lora, above(0.0, f64::INFINITY), Int(32), WORKS;
    /// Share of the adapter's inputs set to zero in training.
    lora_dropout_p: f64, Lora, below(0.0, 1.0), Float(0.05), WORKS;
    /// Train the biases as well: none of them, or all.
    lora_bias_trainable: String, Lora, Kind::Choice(&["none", "all"]), Str("none"), WORKS;
    /// Modules to train and save whole, such as wte, ln_1, ln_2, ln_f, lm_head.
    lora_modules_to_save: Vec<String>, Lora, Kind::List, List(&[]), WORKS;
    /// Number format of the adapter's weights; AUTO: that of the base.
    lora_dtype: String, Lora, Kind::Choice(&["fp16", "bf16", "fp32", "AUTO"]), Str("fp32"), WORKS;
    /// Noise added to the embeddings in training (NEFTune), such as 5: within alpha / sqrt(tokens of the row x hidden size).
    neftune_noise_alpha: Option<f64>, Training, from(0.0), Null, WORKS;
    /// Compute layers again on the way back instead of keeping them: less memory, more time; not set: true.
    gradient_checkpointing: GradientCheckpointing, Training, Kind::BoolOrAuto, Null, WORKS;
    /// Settings of DeepSpeed.
    deepspeed_config_path: Option<String>, Elsewhere, Kind::Path, Null, DEEPSPEED;
    /// Rows of a micro-batch.
    batch_size: usize, Training, int(1, MANY), Int(1), WORKS;
    /// Rows of a validation batch; not set: batch_size.
    eval_batch_size: usize, Training, int(1, MANY), Null, WORKS;
    /// Passes over the training rows.
    num_train_epochs: u64, Training, int(1, MANY), Int(1), WORKS;
    /// Optimizer steps, whatever the epochs; -1 or 0: as many as the epochs make.
    max_steps: i64, Training, int(-1, MAX), Int(-1), WORKS;
    /// Optimizer.
    optim: String, Training, Kind::Choice(&["adamw_torch", "adamw_torch_fused", "adamw_hf", "sgd", "adafactor"]),
        Str("adamw_torch"), WORKS;
    /// AdamW: how slowly the mean gradient changes.
    adam_beta1: f64, Training, below(0.0, 1.0), Float(0.9), WORKS;
    /// AdamW: how slowly the mean squared gradient changes.
    adam_beta2: f64, Training, below(0.0, 1.0), Float(0.999), WORKS;
    /// AdamW: keeps the step finite where gradients are tiny.
    adam_epsilon: f64, Training, from(0.0), Float(1e-8), WORKS;
    /// Highest learning rate; not set: 1e-4 for lora, 1e-5 for full.
    learning_rate: f64, Training, above(0.0, f64::INFINITY), Null, WORKS;
    /// How much weights shrink at each step, by the learning rate; biases do not.
    weight_decay: f64, Training, from(0.0), Float(0.01), WORKS;
    /// Micro-batches of an optimizer step; not set: as many as make 16 rows.
    gradient_accumulation_steps: usize, Training, int(1, MANY), Null, WORKS;
    /// Longer gradients are scaled down to this norm; 0: never.
    max_grad_norm: f64, Training, from(0.0), Float(0.5), WORKS;
    /// Have the validation rows answered too; the best checkpoint is the one with the highest rouge-l.
    predict_with_generate: bool, Generation, Kind::Bool, Bool(false), WORKS;
    /// How the learning rate goes after the warmup.
    lr_scheduler_type: Scheduler, Training, Kind::Choice(schedule::NAMES), Str("linear"), WORKS;
    /// Share of the steps in which the learning rate rises from 0.
    warmup_ratio: f64, Training, within(0.0, 1.0), Float(0.05), WORKS;
    /// Validate every so many steps.
    eval_steps: u64, Saving, int(1, MAX), Int(50), WORKS;
    /// Save every so many steps, a multiple of eval_steps; not set: eval_steps.
    save_steps: u64, Saving, int(1, MAX), Null, WORKS;
    /// Save also after so many minutes without a checkpoint, such as 10; not set: by steps alone.
    save_minutes: Option<f64>, Saving, above(0.0, f64::INFINITY), Null, WORKS;
    /// Save the weights without the optimizer: smaller, but no way to go on; not set: true for full.
    save_only_model: bool, Saving, Kind::Bool, Null, WORKS;
    /// Checkpoints to keep; 2: the last and the best.
    #[serde(serialize_with = "null_for_no_limit", deserialize_with = "no_limit_for_null")]
    save_total_limit: i64, Saving, Kind::Limit { max: MAX }, Int(2), WORKS;
    /// Log every so many steps.
    logging_steps: u64, Saving, int(1, MAX), Int(5), WORKS;
    /// Processes that prepare batches.
    dataloader_num_workers: u64, Elsewhere, int(0, MANY), Int(1),
        Status::NoEffect("batches are ready before the training begins");
    /// Upload the result.
    push_to_hub: bool, Elsewhere, Kind::Bool, Bool(false), UPLOAD;
    /// Name of the result on the hub.
    hub_model_id: Option<String>, Elsewhere, Kind::Text, Null, NO_HUB;
    /// Whether only its owner sees it.
    hub_private_repo: bool, Elsewhere, Kind::Bool, Bool(true), NO_HUB;
    /// When to upload.
    push_hub_strategy: String, Elsewhere,
        Kind::Choice(&["end", "push_best", "push_last", "checkpoint", "all_checkpoints"]),
        Str("push_best"), NO_HUB;
    /// Key for the hub.
    #[serde(skip_deserializing, serialize_with = "never_written")]
    hub_token: Option<String>, Elsewhere, Kind::Text, Null, NO_HUB;
    /// Train on the longest rows first, to see at once whether memory suffices.
    test_oom_error: bool, Training, Kind::Bool, Bool(false), WORKS;
    /// Show lines instead of the progress bar.
    disable_tqdm: bool, Elsewhere, Kind::Bool, Bool(false), WORKS;
    /// Tokenize rows when they are needed.
    lazy_tokenize: bool, Elsewhere, Kind::Bool, Bool(false),
        Status::NoEffect("all rows are tokenized before the training, some 10,000 a second");
    /// Threads that tokenize; 1: one a core.
    preprocess_num_proc: usize, Machine, int(1, 4096), Int(1), WORKS;
    /// Use the flash-attn package.
    use_flash_attn: Option<bool>, Elsewhere, Kind::Bool, Null,
        Status::NoEffect("libtorch chooses its attention kernels");
    /// Leave out flags that are unknown, with a warning, instead of refusing them.
    ignore_args_error: bool, Elsewhere, Kind::Bool, Bool(false), WORKS;
    /// Ask the hub whether it has newer files of a model that was found by its name; nothing waits for the answer.
    check_model_is_latest: bool, Elsewhere, Kind::Bool, Bool(true), WORKS;
    /// Folder of TensorBoard's files; not set: runs in the run's own folder.
    logging_dir: Option<String>, Saving, Kind::Path, Null, WORKS;
    /// Programs to report to: tensorboard (all is the same) or none.
    report_to: Vec<String>, Saving, Kind::List, List(&["all"]), WORKS;
    /// Accuracy of single tokens, or of whole answers.
    acc_strategy: String, Saving, Kind::Choice(&["token", "sentence"]), Str("token"), WORKS;
    /// Save on every machine.
    save_on_each_node: bool, Elsewhere, Kind::Bool, Bool(true), ONE_MACHINE;
    /// Validate every eval_steps, or never.
    evaluation_strategy: String, Saving, Kind::Choice(&["steps", "no"]), Str("steps"), WORKS;
    /// Save every save_steps, or never.
    save_strategy: String, Saving, Kind::Choice(&["steps", "no"]), Str("steps"), WORKS;
    /// Save as safetensors.
    save_safetensors: bool, Elsewhere, Kind::Bool, Bool(true),
        Status::NoEffect("weights are always saved as safetensors");
    /// Longest answer in tokens.
    max_new_tokens: u64, Generation, int(1, MANY), Int(2048), WORKS;
    /// Draw each token by chance; false: always the likeliest.
    do_sample: bool, Generation, Kind::Bool, Bool(true), WORKS;
    /// How much chance: lower keeps to likely tokens.
    temperature: f64, Generation, above(0.0, f64::INFINITY), Float(0.3), WORKS;
    /// Draw from this many of the likeliest tokens; 0: from all.
    top_k: u64, Generation, int(0, MANY), Int(20), WORKS;
    /// Draw from the likeliest tokens that together have this probability.
    top_p: f64, Generation, above(0.0, 1.0), Float(0.7), WORKS;
    /// Above 1: tokens already written become less likely.
    repetition_penalty: f64, Generation, above(0.0, f64::INFINITY), Float(1.0), WORKS;
    /// Answers followed at once.
    num_beams: u64, Elsewhere, int(1, MANY), Int(1), Status::Refused("beam search is not supported");
    /// Another name of batch_size.
    per_device_train_batch_size: Option<usize>, Elsewhere, int(1, MANY), Null, WORKS;
    /// Another name of eval_batch_size.
    per_device_eval_batch_size: Option<usize>, Elsewhere, int(1, MANY), Null, WORKS;
    /// Another name of save_only_model.
    only_save_model: Option<bool>, Elsewhere, Kind::Bool, Null, WORKS;
    /// Another name of neftune_noise_alpha.
    neftune_alpha: Option<f64>, Elsewhere, from(0.0), Null, WORKS;
    /// Take the rows in a random order in each epoch; false: in the order of the file.
    train_sampler_random: bool, Training, Kind::Bool, Null, WORKS;
    /// Adapter weights to start from, a safetensors file.
    init_adapter: Option<String>, Lora, Kind::Path, Null, WORKS;
    /// Where to compute; auto: on the GPU if there is one.
    device: String, Machine, Kind::Device, Str("auto"), WORKS;
    /// Threads on the CPU; not set: one a core.
    threads: Option<usize>, Machine, int(1, 4096), Null, WORKS;

    derived
    /// dtype as PyTorch names it.
    torch_dtype, Kind::Any, Status::Derived("dtype");
    /// Whether dtype is fp16.
    fp16, Kind::Bool, Status::Derived("dtype");
    /// Whether dtype is bf16.
    bf16, Kind::Bool, Status::Derived("dtype");
    /// bnb_4bit_comp_dtype as PyTorch names it.
    bnb_4bit_compute_dtype, Kind::Any, Status::Derived("bnb_4bit_comp_dtype");
    /// Whether quantization_bit is 4.
    load_in_4bit, Kind::Bool, Status::Derived("quantization_bit");
    /// Whether quantization_bit is 8.
    load_in_8bit, Kind::Bool, Status::Derived("quantization_bit");
    /// Contents of deepspeed_config_path.
    deepspeed, Kind::Any, Status::Derived("deepspeed_config_path");
}

/// The arguments that follow from `args`, in the table's order.
pub(super) fn derived(args: &SftArgs) -> Map<String, Value> {
    let torch = |dtype: &str| match dtype {
        "bf16" => json!("torch.bfloat16"),
        "fp16" => json!("torch.float16"),
        "fp32" => json!("torch.float32"),
        _ => Value::Null,
    };
    // Which one AUTO is depends on the machine.
    let is = |dtype: &str| if args.dtype == "AUTO" { Value::Null } else { (args.dtype == dtype).into() };
    let rows = [
        ("torch_dtype", torch(&args.dtype)),
        ("fp16", is("fp16")),
        ("bf16", is("bf16")),
        ("bnb_4bit_compute_dtype", torch(&args.bnb_4bit_comp_dtype)),
        ("load_in_4bit", (args.quantization_bit == 4).into()),
        ("load_in_8bit", (args.quantization_bit == 8).into()),
        ("deepspeed", Value::Null),
    ];
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(super) fn null_for_no_limit<S: serde::Serializer>(limit: &i64, s: S) -> Result<S::Ok, S::Error> {
    (*limit != -1).then_some(limit).serialize(s)
}

pub(super) fn no_limit_for_null<'de, D: serde::Deserializer<'de>>(d: D) -> Result<i64, D::Error> {
    Ok(Option::<i64>::deserialize(d)?.unwrap_or(-1))
}

/// SWIFT's own `lora_alpha` is a whole number, and its readers expect one.
fn whole_as_integer<S: serde::Serializer>(x: &f64, s: S) -> Result<S::Ok, S::Error> {
    // Below 2^53 a whole f64 is an integer exactly.
    if x.fract() == 0.0 && x.abs() < 9e15 { s.serialize_i64(*x as i64) } else { s.serialize_f64(*x) }
}

/// A secret has no place in the files of a run.
fn never_written<S: serde::Serializer>(_: &Option<String>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_none()
}
