//! Answers, a token at a time.

use qwen_tui::args::{InferArgs, SftArgs};
use qwen_tui::data::Tokenizer;
use qwen_tui::error::{Context, Error, Result};
use rand_mt::Mt;
use tch::{Device, Kind};

use super::qwen::{KvCache, Qwen};
use super::sampling::choose;

/// How answers are drawn, under the names of transformers' GenerationConfig.
#[derive(Debug, Clone)]
pub struct Generation {
    pub max_new_tokens: usize,
    pub do_sample: bool,
    pub temperature: f64,
    /// 0: all tokens.
    pub top_k: usize,
    pub top_p: f64,
    pub repetition_penalty: f64,
}

macro_rules! from_arguments {
    ($($arguments:ty),+) => {
        $(impl From<&$arguments> for Generation {
            fn from(args: &$arguments) -> Self {
                Self {
                    max_new_tokens: args.max_new_tokens as usize,
                    do_sample: args.do_sample,
                    temperature: args.temperature,
                    top_k: args.top_k as usize,
                    top_p: args.top_p,
                    repetition_penalty: args.repetition_penalty,
                }
            }
        })+
    };
}

from_arguments!(InferArgs, SftArgs);

/// What a model says whose weights are broken, or too large for its dtype.
pub fn not_finite() -> Error {
    Error::user(
        "the model's scores are not finite: its weights or the checkpoint's are damaged or come from a training that \
         diverged, or the dtype is too narrow (try dtype fp32)",
    )
}

/// A model that writes.
pub struct Writer<'a> {
    pub model: &'a Qwen,
    pub tokenizer: &'a Tokenizer,
    /// Tokens that end an answer.
    pub stops: Vec<u32>,
}

impl Writer<'_> {
    /// The answer to `prompt`; `told` hears the text whenever it has grown. `stop`, asked before each token, ends it as
    /// far as it has got.
    ///
    /// # Errors
    /// A prompt without a token; scores that are not finite; what `told` or `stop` returns.
    pub fn answer(
        &self,
        prompt: &[u32],
        how: &Generation,
        random: &mut Mt,
        told: &mut dyn FnMut(&str) -> Result<()>,
        stop: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<String> {
        if prompt.is_empty() {
            return Err(Error::user("the prompt is empty, so there is nothing to answer"));
        }
        let mut cache = KvCache::new();
        let mut seen = prompt.to_vec();
        let mut answer: Vec<u32> = Vec::new();
        let mut text = String::new();
        let mut next = prompt.to_vec();
        for _ in 0..how.max_new_tokens {
            if stop()? {
                break;
            }
            let logits = tch::no_grad(|| self.model.step(&next, &mut cache));
            if logits.isnan().any().int64_value(&[]) != 0 {
                return Err(not_finite());
            }
            let logits = logits.flatten(0, -1).to_device(Device::Cpu).to_kind(Kind::Float);
            let logits = Vec::try_from(logits).internal("reading the logits")?;
            let id = choose(logits, &seen, how, random);
            if self.stops.contains(&id) {
                break;
            }
            answer.push(id);
            seen.push(id);
            next = vec![id];
            let whole = self.text(&answer);
            // A character whose bytes are not all there yet waits for them.
            if !whole.ends_with('\u{fffd}') && whole.len() > text.len() {
                text = whole;
                told(&text)?;
            }
        }
        let whole = self.text(&answer);
        if whole != text {
            told(&whole)?;
        }
        Ok(whole)
    }

    /// The text of tokens, special ones left out.
    pub fn text(&self, ids: &[u32]) -> String {
        let eos = self.tokenizer.eos();
        let plain: Vec<u32> = ids.iter().copied().filter(|&id| id < eos).collect();
        self.tokenizer.decode(&plain)
    }
}
