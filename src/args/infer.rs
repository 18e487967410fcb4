//! The arguments of `infer`: the table and the struct, from one list.

use super::field::{Field, Group, Literal::*, Status};
use super::kind::{Kind, above, from, int, within};
use super::models;
use super::sft::{arguments, no_limit_for_null, null_for_no_limit};

const MAX: i64 = i64::MAX;
const MANY: i64 = 1 << 20;
const SEED: Kind = int(0, u32::MAX as i64);
const WORKS: Status = Status::Works;
const NO_QUANTIZATION: Status = Status::NoEffect("weights are not quantized");
const NO_VLLM: Status = Status::NoEffect("vLLM is not used");

arguments! {
    /// What `infer` works with: SWIFT's arguments with every rule applied, and a few of our own.
    struct InferArgs; table INFER_FIELDS;

    /// Which Qwen the base model is; not set: the checkpoint's.
    model_type: String, Model, Kind::Choice(models::MODEL_TYPES), Null, WORKS;
    /// Directory of the base model, or its id on a hub; not set: the checkpoint's.
    model_id_or_path: Option<String>, Model, Kind::Path, Null, WORKS;
    /// Branch, tag or commit of the model on the hub; not set: the checkpoint's.
    model_revision: Option<String>, Model, Kind::Text, Null, WORKS;
    /// Directory that holds the base model's files; not set: the checkpoint's.
    model_cache_dir: Option<String>, Model, Kind::Path, Null, WORKS;
    /// Hub whose copies and downloads come first; not set: the checkpoint's, else modelscope, or hf with USE_HF=1.
    hub: Option<String>, Model, Kind::Choice(models::HUBS), Null, WORKS;
    /// Whether the checkpoint is an adapter (lora) or a whole model (full); not set: the checkpoint's.
    sft_type: String, Model, Kind::Choice(&["lora", "full"]), Str("lora"), WORKS;
    /// How query and response become the model's text; AUTO: the model type's own.
    template_type: String, Data, Kind::Choice(models::TEMPLATE_TYPES), Str("AUTO"), WORKS;
    /// What computes the answers.
    infer_backend: String, Elsewhere, Kind::Choice(&["AUTO", "pt"]), Str("AUTO"), NO_VLLM;
    /// Checkpoint of a training run; none: the base model itself.
    ckpt_dir: Option<String>, Model, Kind::Path, Null, WORKS;
    /// Take what is not set from the checkpoint's arguments.
    load_args_from_ckpt_dir: bool, Model, Kind::Bool, Bool(true), WORKS;
    /// Answer the validation rows of the checkpoint's own data sets.
    load_dataset_config: bool, Inference, Kind::Bool, Bool(false), WORKS;
    /// Ask for queries at a prompt; not set: when there is no data set.
    eval_human: bool, Inference, Kind::Bool, Null, WORKS;
    /// Seed of what is drawn by chance.
    seed: u64, Generation, SEED, Int(42), WORKS;
    /// Number format of the base weights; AUTO: bf16 on a GPU, fp32 on the CPU.
    dtype: String, Model, Kind::Choice(&["bf16", "fp16", "fp32", "AUTO"]), Str("AUTO"), WORKS;
    /// Data sets by name or file.
    dataset: Vec<String>, Data, Kind::List, List(&[]), WORKS;
    /// Seed of the choice of rows.
    dataset_seed: u64, Data, SEED, Int(42), WORKS;
    /// Share of rows for validation.
    dataset_test_ratio: f64, Data, within(0.0, 1.0), Float(0.01), WORKS;
    /// Validation rows to answer, the first ones.
    val_dataset_sample: i64, Data, Kind::Limit { max: MAX }, Int(10), WORKS;
    /// Write the answers to a file in the checkpoint.
    save_result: bool, Inference, Kind::Bool, Bool(true), WORKS;
    /// System prompt of the chat templates.
    system: Option<String>, Data, Kind::Text, Null, WORKS;
    /// Longest query in tokens.
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
    /// Bits of a quantized base model.
    quantization_bit: i64, Elsewhere, Kind::IntChoice(&[0, 4, 8]), Int(0),
        Status::Refused("quantized models are not supported");
    /// Number format that quantized weights are computed in.
    bnb_4bit_comp_dtype: String, Elsewhere,
        Kind::Choice(&["fp16", "bf16", "fp32", "AUTO"]), Str("AUTO"), NO_QUANTIZATION;
    /// Kind of 4-bit numbers.
    bnb_4bit_quant_type: String, Elsewhere, Kind::Choice(&["fp4", "nf4"]), Str("nf4"), NO_QUANTIZATION;
    /// Quantize the quantization's constants too.
    bnb_4bit_use_double_quant: bool, Elsewhere, Kind::Bool, Bool(true), NO_QUANTIZATION;
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
    /// Use the flash-attn package.
    use_flash_attn: Option<bool>, Elsewhere, Kind::Bool, Null,
        Status::NoEffect("libtorch chooses its attention kernels");
    /// Leave out flags that are unknown, with a warning, instead of refusing them.
    ignore_args_error: bool, Elsewhere, Kind::Bool, Bool(false), WORKS;
    /// Print an answer while it is written.
    stream: bool, Inference, Kind::Bool, Bool(true), WORKS;
    /// Fold the adapter into the model first (merge-lora), and answer with what comes of it.
    merge_lora_and_save: bool, Inference, Kind::Bool, Bool(false), WORKS;
    /// Save as safetensors.
    save_safetensors: bool, Elsewhere, Kind::Bool, Bool(true),
        Status::NoEffect("weights are always saved as safetensors");
    /// Write the generation settings to the checkpoint.
    overwrite_generation_config: Option<bool>, Elsewhere, Kind::Bool, Null,
        Status::NoEffect("a checkpoint is never changed");
    /// Print rows and answers; not set: below 100 rows.
    verbose: Option<bool>, Inference, Kind::Bool, Null, WORKS;
    /// Share of GPU memory that vLLM takes.
    gpu_memory_utilization: f64, Elsewhere, from(0.0), Float(0.9), NO_VLLM;
    /// GPUs that vLLM takes.
    tensor_parallel_size: u64, Elsewhere, int(1, MANY), Int(1), NO_VLLM;
    /// Another name of val_dataset_sample.
    show_dataset_sample: i64, Elsewhere, Kind::Limit { max: MAX }, Int(10), WORKS;
    /// Another name of save_safetensors.
    safe_serialization: Option<bool>, Elsewhere, Kind::Bool, Null,
        Status::NoEffect("weights are always saved as safetensors");
    /// Where to compute; auto: on the GPU if there is one.
    device: String, Machine, Kind::Device, Str("auto"), WORKS;
    /// Threads on the CPU; not set: one a core.
    threads: Option<usize>, Machine, int(1, 4096), Null, WORKS;
    /// Directory of the merged model; not set: the checkpoint's name with -merged, beside it.
    output: Option<String>, Saving, Kind::Path, Null, WORKS;
    /// Merge anew in the place of an earlier merge.
    overwrite: bool, Saving, Kind::Bool, Bool(false), WORKS;
}
