//! Whether a prompt and its answer fit: `max_length`, and the model's context.

use qwen_tui::args::InferArgs;
use qwen_tui::error::{Error, Result};

use crate::model::QwenConfig;

/// The room that prompts have.
#[derive(Debug, Clone)]
pub struct Room {
    max_length: Option<usize>,
    /// `truncation_left`: a longer prompt keeps its end.
    keep_end: bool,
    max_new_tokens: usize,
    context: usize,
    /// Dynamic NTK stretches the context.
    stretches: bool,
}

/// How a prompt fits.
#[derive(Debug, PartialEq)]
pub enum Fit {
    /// These ids are the prompt.
    Whole(Vec<u32>),
    /// So are these, and prompt and answer may go beyond the context, which dynamic NTK bears; the message says so.
    Stretched(Vec<u32>, String),
    /// `delete`: it is longer than `max_length` and left out; the message says so.
    LeftOut(String),
}

impl Room {
    pub fn new(args: &InferArgs, config: &QwenConfig) -> Self {
        Self {
            max_length: args.max_length_limit(),
            keep_end: args.truncation_strategy == "truncation_left",
            max_new_tokens: args.max_new_tokens as usize,
            context: config.seq_length as usize,
            stretches: config.use_dynamic_ntk,
        }
    }

    /// Fits `prompt` in.
    ///
    /// # Errors
    /// Prompt and answer together beyond a context that does not stretch.
    pub fn fit(&self, mut prompt: Vec<u32>) -> Result<Fit> {
        if let Some(max) = self.max_length.filter(|&max| prompt.len() > max) {
            if !self.keep_end {
                return Ok(Fit::LeftOut(format!(
                    "the prompt has {} tokens, more than max_length {max}: it is left out; raise it, or \
                     keep its end (truncation_strategy truncation_left)",
                    prompt.len()
                )));
            }
            prompt.drain(..prompt.len() - max);
        }
        let together = prompt.len().saturating_add(self.max_new_tokens);
        if together <= self.context {
            return Ok(Fit::Whole(prompt));
        }
        let message = format!(
            "the prompt has {} tokens and max_new_tokens is {}, together more than the model's context of {}",
            prompt.len(),
            self.max_new_tokens,
            self.context
        );
        if self.stretches {
            return Ok(Fit::Stretched(
                prompt,
                format!("{message}; beyond it answers get worse (dynamic NTK)"),
            ));
        }
        Err(Error::user(format!("{message}: lower max_new_tokens, or shorten the prompt")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> Room {
        Room { max_length: Some(4), keep_end: false, max_new_tokens: 2, context: 5, stretches: false }
    }

    #[test]
    fn a_long_prompt_is_left_out_or_keeps_its_end() {
        assert_eq!(room().fit(vec![1, 2, 3]).unwrap(), Fit::Whole(vec![1, 2, 3]));
        let Fit::LeftOut(why) = room().fit(vec![1; 6]).unwrap() else { panic!() };
        assert!(why.contains("6 tokens") && why.contains("max_length 4"), "{why}");
        let cut = Room { keep_end: true, max_length: Some(2), ..room() };
        assert_eq!(cut.fit(vec![1, 2, 3]).unwrap(), Fit::Whole(vec![2, 3]));
        let unlimited = Room { max_length: None, context: 100, ..room() };
        assert_eq!(unlimited.fit(vec![1; 98]).unwrap(), Fit::Whole(vec![1; 98]));
    }

    #[test]
    fn beyond_the_context_only_dynamic_ntk_goes_on() {
        let error = room().fit(vec![1; 4]).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("context of 5"), "{error}");
        let ntk = Room { stretches: true, ..room() };
        assert!(matches!(ntk.fit(vec![1; 4]).unwrap(), Fit::Stretched(ids, _) if ids == [1; 4]));
    }
}
