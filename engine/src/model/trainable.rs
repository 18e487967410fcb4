//! What is trained: one flat fp32 tensor, of which every trained weight is a view.
//!
//! The optimizer sees a vector, the model sees named tensors; nothing is copied between them.

use std::collections::{BTreeMap, HashMap};

use qwen_tui::args::modules::{LINEAR, is_saved, matches_target};
use qwen_tui::error::{Context, Error, Result};
use qwen_tui::run::Bias;
use tch::{Device, Kind, Tensor};

use super::config::QwenConfig;
use super::qwen::{Lora, Qwen, Sink};
use super::seeded::seeded;
use super::weights::Named;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    LoraA,
    LoraB,
    /// A weight of the base model itself.
    Weight,
}

#[derive(Debug)]
struct Entry {
    /// `transformer.h.0.attn.c_attn.lora_A`, or the weight's own name.
    name: String,
    role: Role,
    shape: Vec<i64>,
    /// A leaf that shares `theta`'s memory.
    leaf: Tensor,
}

/// Which LoRA to attach.
#[derive(Debug, Clone)]
pub struct LoraOptions {
    /// Modules by the ends of their paths, such as `c_attn` or `mlp.c_proj`.
    pub targets: Vec<String>,
    pub rank: i64,
    pub alpha: f64,
    /// Which biases of the base are trained too.
    pub bias: Bias,
    /// `lora_modules_to_save`: endings of module paths that are trained whole.
    pub modules_to_save: Vec<String>,
    /// The dtype the adapter computes in.
    pub kind: Kind,
}

#[derive(Debug)]
pub struct Trainable {
    /// `[n]` fp32, those with weight decay first.
    theta: Tensor,
    /// How many elements of `theta` have weight decay.
    decayed: i64,
    entries: Vec<Entry>,
    lora_kind: Kind,
    lora_scale: f64,
    /// What adapters are computed in.
    compute: Kind,
    /// `theta` in that dtype, of which [`Trainable::explicit`]'s adapters are parts.
    cast: Tensor,
    /// The gradient of the pass at hand and of the step, `[n]` each, where nothing but adapters is trained.
    sink: Option<(Tensor, Tensor)>,
}

/// `transformer.h.0.attn.c_attn.weight` belongs to `transformer.h.0.attn.c_attn`.
fn module_of(tensor: &str) -> &str {
    tensor.rsplit_once('.').map_or(tensor, |(module, _)| module)
}

/// Whether a weight has weight decay. transformers 4.36 (`Trainer.get_decay_parameter_names`) spares biases and what is
/// in norms of the classes it has a list of; Qwen's own `RMSNorm` is not in that list.
pub fn is_decayed(name: &str) -> bool {
    !name.ends_with(".bias")
}

impl Trainable {
    /// A fresh adapter: A kaiming-uniform (a = sqrt 5), B zero; base weights named by the options are trained whole.
    ///
    /// # Errors
    /// A target or module to save that matches nothing.
    pub fn lora(
        config: &QwenConfig,
        base: &Named,
        options: &LoraOptions,
        seed: u64,
        device: Device,
    ) -> Result<Self> {
        let modules = config.linear_modules();
        let matches = |module: &str| matches_target(module, &options.targets);
        let named = |target: &String| modules.iter().any(|m| matches_target(m, std::slice::from_ref(target)));
        if let Some(unmatched) = options.targets.iter().find(|t| !named(t)) {
            return Err(Error::user(format!(
                "lora_target_modules: {unmatched:?} matches no linear layer of this model; they end in {}; \
                 DEFAULT is c_attn, ALL is all of them",
                LINEAR.join(", ")
            )));
        }
        let shapes: HashMap<String, Vec<i64>> = config.tensors().into_iter().collect();
        let mut names: Vec<(String, Role, Vec<i64>)> = Vec::new();
        for module in modules.iter().filter(|m| matches(m)) {
            let shape = &shapes[&format!("{module}.weight")];
            names.push((format!("{module}.lora_A"), Role::LoraA, vec![options.rank, shape[1]]));
            names.push((format!("{module}.lora_B"), Role::LoraB, vec![shape[0], options.rank]));
        }
        let saved = |module: &str| is_saved(module, &options.modules_to_save);
        if let Some(both) = modules.iter().find(|m| matches(m) && saved(m)) {
            return Err(Error::user(format!(
                "lora_modules_to_save: {both} has LoRA already (lora_target_modules); a module is trained whole or by \
                 LoRA"
            )));
        }
        let trained = |name: &str| match options.bias {
            Bias::None => false,
            Bias::All => name.ends_with(".bias"),
            Bias::LoraOnly => name.ends_with(".bias") && matches(module_of(name)),
        };
        for (name, shape) in config.tensors() {
            if trained(&name) || saved(module_of(&name)) {
                names.push((name, Role::Weight, shape));
            }
        }
        let is_named =
            |m: &String| shapes.keys().any(|name| is_saved(module_of(name), std::slice::from_ref(m)));
        if let Some(unmatched) = options.modules_to_save.iter().find(|m| !is_named(m)) {
            return Err(Error::user(format!(
                "lora_modules_to_save: {unmatched:?} matches no module of this model (wte, ln_1, ln_2, ln_f, lm_head, ...)"
            )));
        }
        let mut made = Self::build(names, base, device, options.kind, options.alpha / options.rank as f64);
        if let (Device::Cuda(_), Some(weight)) = (device, base.get("transformer.wte.weight")) {
            made.compute_in(weight.kind());
        }
        seeded(seed, || {
            tch::no_grad(|| {
                for entry in made.entries.iter().filter(|e| e.role == Role::LoraA) {
                    // kaiming_uniform_(a = sqrt 5): bound = sqrt(6 / ((1 + 5) * fan_in)).
                    let bound = 1.0 / (entry.shape[1] as f64).sqrt();
                    let _ = entry.leaf.shallow_clone().uniform_(-bound, bound);
                }
            });
        });
        Ok(made)
    }

    /// Full-parameter training. `frozen` is the share of parameters frozen from the embedding upwards
    /// (`freeze_parameters`); `additional` are name prefixes trained all the same.
    ///
    /// # Errors
    /// Nothing is left to train; a prefix that matches nothing.
    pub fn full(
        config: &QwenConfig,
        base: &Named,
        frozen: f64,
        additional: &[String],
        device: Device,
    ) -> Result<Self> {
        let all = config.tensors();
        let starts = |name: &str, prefix: &String| name.starts_with(prefix.as_str());
        if let Some(unmatched) = additional.iter().find(|a| !all.iter().any(|(name, _)| starts(name, a))) {
            return Err(Error::user(format!(
                "additional_trainable_parameters: {unmatched:?} begins no weight's name of this model; they are \
                 transformer.wte, transformer.h.N.(ln_1, attn.c_attn, attn.c_proj, ln_2, mlp.w1, mlp.w2, mlp.c_proj), \
                 transformer.ln_f, lm_head"
            )));
        }
        let size = |shape: &[i64]| shape.iter().product::<i64>();
        let budget = all.iter().map(|(_, s)| size(s)).sum::<i64>() as f64 * frozen;
        let mut before = 0i64;
        let mut names = Vec::new();
        for (name, shape) in all {
            before += size(&shape);
            if before as f64 > budget || additional.iter().any(|a| starts(&name, a)) {
                names.push((name, Role::Weight, shape));
            }
        }
        if names.is_empty() {
            return Err(Error::user(
                "freeze_parameters 1 freezes everything: give a smaller share, or additional_trainable_parameters",
            ));
        }
        Ok(Self::build(names, base, device, Kind::Float, 0.0))
    }

    fn build(
        mut names: Vec<(String, Role, Vec<i64>)>,
        base: &Named,
        device: Device,
        lora_kind: Kind,
        lora_scale: f64,
    ) -> Self {
        names.sort_by_key(|(name, ..)| !is_decayed(name));
        let size = |shape: &[i64]| shape.iter().product::<i64>();
        let total = names.iter().map(|(.., s)| size(s)).sum::<i64>();
        let decayed = names.iter().filter(|(n, ..)| is_decayed(n)).map(|(.., s)| size(s)).sum();
        let theta = Tensor::zeros([total], (Kind::Float, device));
        let mut at = 0;
        let entries = names
            .into_iter()
            .map(|(name, role, shape)| {
                let n = size(&shape);
                let view = theta.narrow(0, at, n).view(shape.as_slice()).detach();
                at += n;
                if role == Role::Weight
                    && let Some(weight) = base.get(&name)
                {
                    tch::no_grad(|| view.shallow_clone().copy_(weight));
                }
                Entry { name, role, shape, leaf: view.set_requires_grad(true) }
            })
            .collect();
        let cast = theta.shallow_clone();
        let mut made =
            Self { theta, decayed, entries, lora_kind, lora_scale, compute: lora_kind, cast, sink: None };
        made.compute_in(lora_kind);
        made
    }

    /// Adapters are computed in `kind` from here on; what is trained stays in fp32. The reference's autocast computes
    /// them in the dtype of the base.
    pub fn compute_in(&mut self, kind: Kind) {
        self.compute = kind;
        self.cast = self.theta.to_kind(kind);
        let is_adapter = self.entries.iter().all(|e| e.role != Role::Weight) && !self.entries.is_empty();
        self.sink = is_adapter.then(|| {
            let (n, device) = (self.theta.size()[0], self.theta.device());
            (Tensor::zeros([n], (kind, device)), Tensor::zeros([n], (Kind::Float, device)))
        });
    }

    /// Number of trained parameters.
    pub fn count(&self) -> i64 {
        self.theta.size1().unwrap_or(0)
    }

    /// Parameters that the base model does not have (the adapter's).
    pub fn added(&self) -> i64 {
        self.entries.iter().filter(|e| e.role != Role::Weight).map(|e| e.shape.iter().product::<i64>()).sum()
    }

    /// The trained vector `[n]` and how many of its first elements have weight decay.
    pub fn theta(&self) -> (&Tensor, i64) {
        (&self.theta, self.decayed)
    }

    /// The model with the trained weights in it, connected to the leaves for autograd.
    pub fn assemble(&self, config: &QwenConfig, base: &Named) -> Qwen {
        let mut replaced = Named::new();
        let mut halves: HashMap<&str, [Option<Tensor>; 2]> = HashMap::new();
        for entry in &self.entries {
            let half = match entry.role {
                Role::Weight => {
                    let kind = base.get(&entry.name).map_or(Kind::Float, Tensor::kind);
                    replaced.insert(entry.name.clone(), entry.leaf.to_kind(kind));
                    continue;
                }
                Role::LoraA => 0,
                Role::LoraB => 1,
            };
            halves.entry(module_of(&entry.name)).or_default()[half] = Some(entry.leaf.to_kind(self.compute));
        }
        let lora = halves
            .into_iter()
            .filter_map(|(module, [a, b])| {
                Some((module.to_owned(), Lora { a: a?, b: b?, scale: self.lora_scale, gradients: None }))
            })
            .collect();
        Qwen::assemble(config, base, &replaced, lora)
    }

    /// The model for passes without autograd, which leave their gradients where [`grad`](Self::grad) finds them. It stays
    /// good while `theta` changes: [`refresh`](Self::refresh) tells it. None where more than adapters is trained.
    pub fn explicit(&self, config: &QwenConfig, base: &Named) -> Option<Qwen> {
        let (pass, sum) = self.sink.as_ref()?;
        let mut halves: HashMap<&str, [Option<(Tensor, Tensor)>; 2]> = HashMap::new();
        let mut at = 0;
        for entry in &self.entries {
            let n = entry.shape.iter().product::<i64>();
            let part = |flat: &Tensor| flat.narrow(0, at, n).view(entry.shape.as_slice());
            let half = usize::from(entry.role == Role::LoraB);
            halves.entry(module_of(&entry.name)).or_default()[half] = Some((part(&self.cast), part(pass)));
            at += n;
        }
        let lora = halves.into_iter().filter_map(|(module, [a, b])| {
            let ((a, of_a), (b, of_b)) = (a?, b?);
            Some((module.to_owned(), Lora { a, b, scale: self.lora_scale, gradients: Some((of_a, of_b)) }))
        });
        let model = Qwen::assemble(config, base, &Named::new(), lora.collect());
        let sink = Sink { pass: pass.shallow_clone(), sum: sum.shallow_clone(), scale: self.lora_scale };
        Some(model.with_sink(sink))
    }

    /// Gives `theta` as it is now to the model of [`explicit`](Self::explicit).
    pub fn refresh(&mut self) {
        if self.compute != Kind::Float {
            tch::no_grad(|| self.cast.copy_(&self.theta));
        }
    }

    /// The gradient of `theta` `[n]`, zero where nothing flowed.
    pub fn grad(&self) -> Tensor {
        // A step is computed with autograd, which leaves gradients at the leaves, or without.
        if let Some((_, sum)) = &self.sink
            && !self.entries.iter().any(|e| e.leaf.grad().defined())
        {
            return sum.shallow_clone();
        }
        let parts: Vec<Tensor> = self
            .entries
            .iter()
            .map(|e| {
                let grad = e.leaf.grad();
                if grad.defined() { grad.flatten(0, -1) } else { e.leaf.detach().zeros_like().flatten(0, -1) }
            })
            .collect();
        let found = Tensor::cat(&parts, 0);
        // One of the two is zero.
        match &self.sink {
            Some((_, sum)) => found + sum,
            None => found,
        }
    }

    /// Shapes of the trained tensors, in the order in which they stand in `theta`.
    pub fn shapes(&self) -> Vec<Vec<i64>> {
        self.entries.iter().map(|e| e.shape.clone()).collect()
    }

    /// Names of the trained tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|e| e.name.as_str())
    }

    pub fn zero_grad(&mut self) {
        for entry in &mut self.entries {
            entry.leaf.zero_grad();
        }
        if let Some((_, sum)) = &mut self.sink {
            let _ = sum.zero_();
        }
    }

    /// The trained tensors by name, copied: an adapter's as `MODULE.lora_A` `[r, in]` and `MODULE.lora_B` `[out, r]`.
    pub fn export(&self, kind: Kind) -> BTreeMap<String, Tensor> {
        self.entries
            .iter()
            .map(|e| {
                let kind = if e.role == Role::Weight { kind } else { self.lora_kind };
                (e.name.clone(), e.leaf.detach().to_device_(Device::Cpu, kind, false, true))
            })
            .collect()
    }

    /// Whether [`export`](Self::export) loses nothing of `theta`.
    pub fn exports_exactly(&self, kind: Kind) -> bool {
        self.entries.iter().all(|e| if e.role == Role::Weight { kind } else { self.lora_kind } == Kind::Float)
    }

    /// Overwrites `theta` `[n]`.
    pub fn set_theta(&mut self, theta: &Tensor) {
        tch::no_grad(|| self.theta.copy_(theta));
    }

    /// Overwrites the trained tensors with `tensors`, which must hold each of them in its shape.
    pub fn import(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        if let Some(name) = tensors.keys().find(|n| !self.entries.iter().any(|e| e.name == **n)) {
            return Err(Error::user(format!("{name} belongs to none of the trained modules")));
        }
        for entry in &self.entries {
            let tensor =
                tensors.get(&entry.name).ok_or_else(|| Error::user(format!("{} is missing", entry.name)))?;
            if tensor.size() != entry.shape {
                return Err(Error::user(format!(
                    "{} has shape {:?}, expected {:?}",
                    entry.name,
                    tensor.size(),
                    entry.shape
                )));
            }
            tch::no_grad(|| entry.leaf.shallow_clone().f_copy_(tensor)).internal(&entry.name)?;
        }
        Ok(())
    }
}
