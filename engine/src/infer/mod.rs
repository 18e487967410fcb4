//! After training: labels for texts, answers to prompts.

mod answers;
pub mod classify;
pub mod generate;
pub mod prompt;
mod room;
pub mod rows;
pub mod stdio;

use std::path::Path;

use qwen_tui::args::InferArgs;
use qwen_tui::data::{Template, Tokenizer};
use qwen_tui::error::Result;
use tch::Device;

use crate::device;
use crate::model::{Qwen, QwenConfig, weights};
use crate::train::{checkpoint, named_model_dir};

/// A model ready to answer: the base, and a checkpoint's adapter where one is named.
pub struct Session {
    pub model: Qwen,
    pub tokenizer: Tokenizer,
    pub template: Template,
    pub device: Device,
}

impl Session {
    /// Loads what `args` name.
    ///
    /// # Errors
    /// No such model or checkpoint, files that do not fit each other, `cuda` where there is none.
    pub fn open(args: &InferArgs) -> Result<Self> {
        let device = device::choose(&args.device)?;
        if let Some(threads) = args.threads {
            tch::set_num_threads(threads as i32);
        }
        let ckpt = args.ckpt_dir.as_deref().map(Path::new);
        // A checkpoint of full training is a whole model.
        let whole = ckpt.filter(|dir| dir.join("config.json").is_file());
        let dir = match whole {
            Some(dir) => dir,
            None => named_model_dir(
                &args.model_type,
                args.model_cache_dir.as_deref(),
                args.model_id_or_path.as_deref(),
            )?,
        };
        weights::check_model_dir(dir)?;
        let config = QwenConfig::load(dir)?;
        let tokenizer = config.tokenizer(dir)?;
        let kind = device::kind(&args.dtype, device).map_err(|e| e.context("dtype"))?;
        let base = weights::load(dir, &config, kind, device)?;
        let model = match (ckpt, whole) {
            (Some(ckpt), None) => {
                let adapter = checkpoint::attach(ckpt, &config, &base, kind, device)?;
                tch::no_grad(|| adapter.assemble(&config, &base))
            }
            _ => Qwen::assemble(&config, &base, &Default::default(), Default::default()),
        };
        let template = Template::new(&args.template_type, args.system.as_deref())?;
        Ok(Self { model, tokenizer, template, device })
    }
}
