//! Answers, a token at a time.

use qwen_tui::error::{Context, Error, Result};
use rand_mt::Mt;
use tch::{Device, Kind};

use super::Session;
use super::sampling::choose;
use crate::model::KvCache;

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

impl From<&qwen_tui::args::InferArgs> for Generation {
    fn from(args: &qwen_tui::args::InferArgs) -> Self {
        Self {
            max_new_tokens: args.max_new_tokens as usize,
            do_sample: args.do_sample,
            temperature: args.temperature,
            top_k: args.top_k as usize,
            top_p: args.top_p,
            repetition_penalty: args.repetition_penalty,
        }
    }
}

impl Session {
    /// The answer to `prompt`; `told` hears the text whenever it has grown.
    ///
    /// # Errors
    /// A prompt without a token; scores that are not finite; what `told` returns.
    pub fn generate(
        &self,
        prompt: &[u32],
        how: &Generation,
        random: &mut Mt,
        told: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<String> {
        self.generate_until(prompt, how, random, told, &mut || false)
    }

    /// [`generate`](Self::generate) until `stop`, asked before each token, says so: the answer as far as it has got.
    pub fn generate_until(
        &self,
        prompt: &[u32],
        how: &Generation,
        random: &mut Mt,
        told: &mut dyn FnMut(&str) -> Result<()>,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<String> {
        if prompt.is_empty() {
            return Err(Error::user("a query is empty, so there is nothing to answer: remove its row"));
        }
        let stops = self.template.stop_ids(&self.tokenizer);
        let mut cache = KvCache::new();
        let mut seen = prompt.to_vec();
        let mut answer: Vec<u32> = Vec::new();
        let mut text = String::new();
        let mut next = prompt.to_vec();
        for _ in 0..how.max_new_tokens {
            if stop() {
                break;
            }
            let logits = tch::no_grad(|| self.model.step(&next, &mut cache));
            if logits.isnan().any().int64_value(&[]) != 0 {
                return Err(super::not_finite());
            }
            let logits = logits.flatten(0, -1).to_device(Device::Cpu).to_kind(Kind::Float);
            let logits = Vec::try_from(logits).internal("reading the logits")?;
            let id = choose(logits, &seen, how, random);
            if stops.contains(&id) {
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

    /// The answer's text, special tokens left out.
    fn text(&self, ids: &[u32]) -> String {
        let eos = self.tokenizer.eos();
        let plain: Vec<u32> = ids.iter().copied().filter(|&id| id < eos).collect();
        self.tokenizer.decode(&plain)
    }
}
