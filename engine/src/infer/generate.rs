//! Answers to prompts.

use qwen_tui::error::Result;
use rand_mt::Mt;

use super::Session;
pub use crate::model::generate::Generation;
use crate::model::generate::Writer;

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
        let stops = self.template.stop_ids(&self.tokenizer);
        let writer = Writer { model: &self.model, tokenizer: &self.tokenizer, stops };
        writer.answer(prompt, how, random, told, &mut || Ok(stop()))
    }
}
