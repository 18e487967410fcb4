//! The output layer and its loss with the gradient written down.

use tch::Tensor;

use super::{Qwen, norm};

/// What the output layer makes of some tokens' last hidden states.
pub struct Head {
    /// Sum of weight times cross entropy, a scalar in fp32.
    pub loss: Tensor,
    /// Which labels are the likeliest token `[m]`.
    pub hits: Tensor,
    /// The gradient of the hidden states `[m, h]`.
    pub gradient: Tensor,
}

impl Qwen {
    /// The loss of hidden states `[m, h]` before the final norm whose next tokens are `labels` `[m]`, each with its weight
    /// `[m]`, and its gradient; nothing is seen by autograd.
    pub fn head(&self, hidden: &Tensor, labels: &Tensor, weights: &Tensor) -> Head {
        let (normed, rstd) = norm::forward(hidden, &self.ln_f, self.config.layer_norm_epsilon);
        let logits = self.logits(&normed);
        let hits = logits.argmax(-1, false).eq_tensor(labels);
        let mut log_p = logits.log_softmax(-1, logits.kind());
        let (labels, weights) = (labels.unsqueeze(1), weights.unsqueeze(1));
        let loss = -(log_p.gather(1, &labels, false) * &weights).sum(logits.kind());
        // Of the logits: (p - 1 at the label) * weight.
        let mut of_logits = log_p.exp_();
        let _ = of_logits.g_mul_(&weights);
        let of_logits = of_logits.scatter_add_(1, &labels, &-weights).to_kind(hidden.kind());
        let gradient = norm::backward(&of_logits.mm(&self.lm_head), hidden, &rstd, &self.ln_f);
        Head { loss, hits, gradient }
    }
}
