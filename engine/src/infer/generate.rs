//! Answers, a token at a time.

use qwen_tui::error::{Error, Result};
use rand_mt::Mt;
use tch::{Device, Kind, Tensor};

use super::Session;
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
            let id = choose(&logits, &seen, how, random);
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

/// The next token from logits `[1, vocab]`: penalty, temperature, top-k and top-p in transformers' order.
fn choose(logits: &Tensor, seen: &[u32], how: &Generation, random: &mut Mt) -> u32 {
    let flat = logits.flatten(0, -1).to_device(Device::Cpu).to_kind(Kind::Float);
    let mut logits: Vec<f32> = Vec::try_from(flat).unwrap_or_default();
    if how.repetition_penalty != 1.0 {
        let mut once = seen.to_vec();
        once.sort_unstable();
        once.dedup();
        for id in once {
            if let Some(logit) = logits.get_mut(id as usize) {
                let factor = how.repetition_penalty as f32;
                *logit = if *logit < 0.0 { *logit * factor } else { *logit / factor };
            }
        }
    }
    if !how.do_sample {
        return argmax(&logits);
    }
    let mut order: Vec<u32> = (0..logits.len() as u32).filter(|&i| !logits[i as usize].is_nan()).collect();
    let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if how.top_k > 0 && how.top_k < order.len() {
        order.select_nth_unstable_by(how.top_k - 1, by_logit);
        order.truncate(how.top_k);
    }
    order.sort_unstable_by(by_logit);
    let Some(&first) = order.first() else { return 0 };
    let most = f64::from(logits[first as usize]);
    let mut weights: Vec<f64> =
        order.iter().map(|&i| ((f64::from(logits[i as usize]) - most) / how.temperature).exp()).collect();
    let sum: f64 = weights.iter().sum();
    // The likeliest tokens whose probabilities add up to top_p, the one that crosses it included.
    let mut before = 0.0;
    let mut kept = 0;
    while kept < weights.len() && before < how.top_p {
        before += weights[kept] / sum;
        kept += 1;
    }
    weights.truncate(kept.max(1));
    let total: f64 = weights.iter().sum();
    let mut point = f64::from(random.next_u32()) / (f64::from(u32::MAX) + 1.0) * total;
    for (weight, &id) in weights.iter().zip(&order) {
        point -= weight;
        if point < 0.0 {
            return id;
        }
    }
    order[weights.len() - 1]
}

fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, &x) in logits.iter().enumerate() {
        if x > logits[best] || logits[best].is_nan() {
            best = i;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how() -> Generation {
        Generation {
            max_new_tokens: 1,
            do_sample: true,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            repetition_penalty: 1.0,
        }
    }

    fn draws(how: &Generation, seen: &[u32]) -> [usize; 4] {
        let logits = Tensor::from_slice(&[0.1f32, 0.2, 0.3, 0.4]).log().unsqueeze(0);
        let mut random = Mt::new(1);
        let mut counts = [0; 4];
        for _ in 0..20_000 {
            counts[choose(&logits, seen, how, &mut random) as usize] += 1;
        }
        counts
    }

    #[test]
    fn tokens_are_drawn_by_their_probabilities() {
        let counts = draws(&how(), &[]);
        for (i, &n) in counts.iter().enumerate() {
            let expected = 2000.0 * (i + 1) as f64;
            assert!((n as f64 - expected).abs() < 300.0, "{counts:?}");
        }
        // Temperature 0.5 squares the probabilities: 1 : 4 : 9 : 16.
        let counts = draws(&Generation { temperature: 0.5, ..how() }, &[]);
        assert!((counts[3] as f64 / 20_000.0 - 16.0 / 30.0).abs() < 0.02, "{counts:?}");
    }

    #[test]
    fn top_k_and_top_p_leave_the_likeliest() {
        assert_eq!(draws(&Generation { top_k: 2, ..how() }, &[])[..2], [0, 0]);
        // 0.4 + 0.3 >= 0.65, so two stay; 0.4 < 0.45 needs two as well.
        assert_eq!(draws(&Generation { top_p: 0.65, ..how() }, &[])[..2], [0, 0]);
        assert_eq!(draws(&Generation { top_p: 0.3, ..how() }, &[])[..3], [0, 0, 0]);
    }

    #[test]
    fn a_penalty_of_two_halves_and_doubles_logits() {
        let logits = Tensor::from_slice(&[3.0f32, 2.0, -1.0, -1.5]).unsqueeze(0);
        let how = Generation { do_sample: false, repetition_penalty: 2.0, ..how() };
        assert_eq!(choose(&logits, &[0, 0], &how, &mut Mt::new(1)), 1);
        assert_eq!(choose(&logits, &[], &how, &mut Mt::new(1)), 0);
    }
}
