//! The engine's numbers on a small model, each against a computation of another kind.

mod classify;
#[path = "../common/mod.rs"]
mod common;
mod dropout;
mod forward;
mod gpu;
mod gradient;
mod neftune;
mod oracle;
mod repeat;
mod shared;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use qwen_tui::data::template::Example;
use qwen_tui::run::Bias;
use qwen_tui_engine::model::weights::{self, Named};
use qwen_tui_engine::model::{LoraOptions, Qwen, QwenConfig, Trainable};
use rand_mt::Mt;
use tch::{Device, Kind, Tensor};

use common::{Normal, SMALL, one_thread, write_model, write_vocabulary};

/// A small model on disk and in memory.
pub struct Small {
    pub dir: tempfile::TempDir,
    pub config: QwenConfig,
    pub base: Named,
}

impl Small {
    /// A vocabulary of the 256 bytes and of `words`, each of which is one token.
    pub fn new(words: &[&str]) -> Self {
        one_thread();
        let dir = tempfile::tempdir().unwrap();
        let vocabulary = dir.path().join("bytes.tiktoken");
        write_vocabulary(&vocabulary, words);
        write_model(&dir.path().join("model"), SMALL, &vocabulary);
        let config = QwenConfig::load(&dir.path().join("model")).unwrap();
        let base = weights::load(&dir.path().join("model"), &config, Kind::Float, Device::Cpu).unwrap();
        Self { dir, config, base }
    }

    /// The same with a context of only `seq_length` tokens.
    pub fn short(seq_length: i64) -> Self {
        let mut small = Self::new(&[]);
        small.config.seq_length = seq_length;
        small
    }

    pub fn model_dir(&self) -> PathBuf {
        self.dir.path().join("model")
    }

    pub fn plain(&self) -> Qwen {
        Qwen::assemble(&self.config, &self.base, &Default::default(), Default::default())
    }

    pub fn oracle(&self) -> oracle::Oracle {
        oracle::Oracle::new(&self.config, &self.base)
    }

    /// LoRA of rank 4 and alpha 12 on `targets`, neither of its halves zero.
    pub fn lora(&self, targets: &[&str]) -> Trainable {
        self.lora_on(&self.base, Device::Cpu, targets)
    }

    /// The same over other weights, on another device.
    pub fn lora_on(&self, base: &Named, device: Device, targets: &[&str]) -> Trainable {
        let mut made = Trainable::lora(&self.config, base, &lora_options(targets), 1, device).unwrap();
        let mut normal = Normal::new(3);
        let filled: BTreeMap<String, Tensor> = made
            .export(Kind::Float)
            .into_iter()
            .map(|(name, t)| (name, normal.tensor(&t.size(), 0.2, 0.0)))
            .collect();
        made.import(&filled).unwrap();
        made
    }
}

pub fn lora_options(targets: &[&str]) -> LoraOptions {
    LoraOptions {
        targets: targets.iter().map(|&t| t.to_owned()).collect(),
        rank: RANK,
        alpha: ALPHA,
        bias: Bias::None,
        modules_to_save: Vec::new(),
        kind: Kind::Float,
    }
}

pub const RANK: i64 = 4;
pub const ALPHA: f64 = 12.0;

/// Held by every test that draws from libtorch's generator, of which a process has one.
pub fn dice() -> MutexGuard<'static, ()> {
    static DICE: Mutex<()> = Mutex::new(());
    DICE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A row of `length` random bytes, with a loss on the last `targets` of them.
pub fn row(random: &mut Mt, length: usize, targets: usize) -> Example {
    let ids: Vec<u32> = (0..length).map(|_| random.next_u32() % 256).collect();
    let labels =
        ids.iter().enumerate().map(|(i, &id)| if i + targets >= length { id.into() } else { -100 }).collect();
    Example { ids, labels }
}

/// 16 rows of 3 to 120 tokens with 1 to 9 label tokens.
pub fn uneven_rows() -> Vec<Example> {
    let mut random = Mt::new(9);
    [3, 120, 5, 61, 17, 4, 33, 90, 8, 8, 47, 12, 110, 6, 25, 70]
        .iter()
        .enumerate()
        .map(|(i, &length)| row(&mut random, length, 1 + (i * 5) % 9))
        .collect()
}

/// Norm of the difference over the norm of `b`.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    (&a - &b).norm().double_value(&[]) / b.norm().double_value(&[])
}

/// The largest difference between rows of figures in fp32 and in f64.
pub fn largest(ours: &Tensor, expected: &[Vec<f64>]) -> f64 {
    let (ours, expected) = (oracle::to_f64(ours), expected.concat());
    assert_eq!(ours.len(), expected.len());
    ours.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}
