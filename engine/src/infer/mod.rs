//! After training: labels for texts, answers to prompts.

mod answers;
pub mod classify;
pub mod generate;
pub(crate) mod interrupt;
mod lines;
pub mod logits;
pub mod merge;
pub mod prompt;
mod room;
pub mod rows;
pub mod stdio;

use std::path::{Path, PathBuf};

use qwen_tui::args::InferArgs;
use qwen_tui::data::{Template, Tokenizer};
use qwen_tui::error::Result;
use qwen_tui::hub::Sources;
use qwen_tui::job::inputs::{check_model_dir, named_model_dir};
use tch::{Device, Kind};

use crate::device;
use crate::model::{Qwen, QwenConfig, adapter, weights};

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
        Self::open_with_base(args).map(|(session, _)| session)
    }

    /// [`open`](Self::open), with the base to put other checkpoints over.
    pub fn open_with_base(args: &InferArgs) -> Result<(Self, Base)> {
        if let Some(threads) = args.threads {
            tch::set_num_threads(threads as i32);
        }
        let (base, tokenizer) = Base::load(args)?;
        let template = Template::new(&args.template_type, args.system.as_deref())?;
        Ok((Self { model: base.assemble(args)?, tokenizer, template, device: base.device }, base))
    }
}

/// A model's own weights, over which an adapter can be put without a copy of them.
pub struct Base {
    /// The model's directory, as named.
    pub dir: PathBuf,
    /// Dtype of the weights.
    pub kind: Kind,
    pub device: Device,
    config: QwenConfig,
    weights: weights::Named,
}

impl Base {
    fn load(args: &InferArgs) -> Result<(Self, Tokenizer)> {
        let device = device::choose(&args.device)?;
        let dir = base_dir(args)?;
        check_model_dir(&dir)?;
        let config = QwenConfig::load(&dir)?;
        let tokenizer = config.tokenizer(&dir)?;
        let kind = device::kind(&args.dtype, device).map_err(|e| e.context("dtype"))?;
        let weights = weights::load(&dir, &config, kind, device)?;
        Ok((Self { dir, kind, device, config, weights }, tokenizer))
    }

    /// The base with the checkpoint's adapter over it, where `args` name one.
    ///
    /// # Errors
    /// An adapter that is broken or does not fit.
    pub fn assemble(&self, args: &InferArgs) -> Result<Qwen> {
        let Some(ckpt) = args.ckpt_dir.as_deref().map(Path::new).filter(|ckpt| !is_whole(ckpt)) else {
            return Ok(Qwen::assemble(&self.config, &self.weights, &Default::default(), Default::default()));
        };
        let adapter = adapter::attach(ckpt, &self.config, &self.weights, self.kind, self.device)?;
        Ok(tch::no_grad(|| adapter.assemble(&self.config, &self.weights)))
    }
}

/// Whether a checkpoint is a whole model, as full training writes it.
fn is_whole(ckpt: &Path) -> bool {
    ckpt.join("config.json").is_file()
}

/// The directory of the base that `args` name; a whole model's checkpoint is its own, and a checkpoint of a run that was
/// started by a model's name has the directory that the run was given.
///
/// # Errors
/// No directory is named, or a hub's id that is none here.
pub fn base_dir(args: &InferArgs) -> Result<PathBuf> {
    let ckpt = args.ckpt_dir.as_deref().map(Path::new);
    if let Some(whole) = ckpt.filter(|ckpt| is_whole(ckpt)) {
        return Ok(whole.to_owned());
    }
    let (cache_dir, named) = (args.model_cache_dir.as_deref(), args.model_id_or_path.as_deref());
    let is_name = cache_dir.is_none() && named.is_some_and(|name| !Path::new(name).exists());
    let given = ckpt.filter(|_| is_name).and_then(Sources::of_checkpoint);
    match given.filter(|given| given.wanted.same_model(&args.into())) {
        Some(given) => Ok(given.model),
        None => named_model_dir(&args.model_type, cache_dir, named).map(Path::to_owned),
    }
}
