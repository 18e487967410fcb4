//! What a run needs to go on from a checkpoint as if it had never ended.
//!
//! The order of the rows and the dropout are functions of seed and step, so a cursor is enough for both. The split of a
//! step's rows into passes depends on the memory of the moment, and the last digits of its sums on the split: it is
//! kept with the rest.

use std::collections::BTreeMap;
use std::path::Path;

use qwen_tui::data::template::Example;
use qwen_tui::error::{Context, Error, Result};
use qwen_tui::run;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::base::BaseModel;
use super::checkpoint::{Book, State};
use super::metrics::Window;
use super::optimizer::Optimizer;
use super::step::Limits;
use crate::device;
use crate::model::dropout::mix;
use crate::model::{Trainable, adapter, weights};

/// The layout of `resume.json` and `optimizer.safetensors` that is written and read. 2: the norms' weights stand among
/// those with weight decay.
const VERSION: u32 = 2;

/// Where a training stands: `resume.json` of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub version: u32,
    /// Optimizer steps done.
    pub step: u64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Steps without a finite gradient in a row.
    pub skipped: u32,
    /// Loss and accuracy since the last line of the log.
    pub window: Window,
    pub book: Book,
    pub passes: Passes,
    pub data: Fingerprint,
    /// None where an earlier version has written it.
    #[serde(default)]
    pub base: Option<BaseModel>,
    pub machine: Machine,
}

/// How a step is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passes {
    pub training: Limits,
    pub evaluation: Limits,
    /// Whether blocks are computed again on the way back.
    pub recompute: bool,
}

/// What the rows were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub train: u64,
    pub validation: u64,
    /// Of all tokens and labels.
    checksum: u64,
}

/// What computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    device: String,
    threads: usize,
    libtorch: String,
}

impl Machine {
    pub fn here(device: tch::Device) -> Self {
        let threads = tch::get_num_threads() as usize;
        Self { device: device::label(device), threads, libtorch: device::libtorch() }
    }
}

impl Fingerprint {
    pub fn of(train: &[Example], validation: &[Example]) -> Self {
        let row = |sum: u64, row: &Example| {
            let sum = mix(sum, row.ids.len() as u64);
            let sum = row.ids.iter().fold(sum, |sum, &id| mix(sum, id.into()));
            row.labels.iter().fold(sum, |sum, &label| mix(sum, label as u64))
        };
        let checksum = train.iter().chain(validation).fold(0, row);
        Self { train: train.len() as u64, validation: validation.len() as u64, checksum }
    }
}

impl Progress {
    pub fn start(passes: Passes, data: Fingerprint, base: Option<BaseModel>, device: tch::Device) -> Self {
        Self {
            version: VERSION,
            step: 0,
            seconds: 0.0,
            skipped: 0,
            window: Window::default(),
            book: Book::default(),
            passes,
            data,
            base,
            machine: Machine::here(device),
        }
    }

    /// Reads it from a checkpoint.
    ///
    /// # Errors
    /// There is none, it is broken, or of a newer version.
    pub fn read(checkpoint: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        if !checkpoint.is_dir() {
            return Err(Error::user(format!("there is no checkpoint {}", checkpoint.display())));
        }
        run::resumable(checkpoint)?;
        let file = checkpoint.join(run::PROGRESS);
        let advice = "; go on from another checkpoint, or begin a new run from its weights alone (resume_only_model true)";
        let Versioned { version } = run::read_json(&file).map_err(|e| e.map(|m| m + advice))?;
        if version != VERSION {
            return Err(Error::user(format!(
                "{}: of version {version}, and this program reads {VERSION}: go on with the version that wrote it",
                file.display()
            )));
        }
        run::read_json(&file).map_err(|e| e.map(|m| m + advice))
    }

    /// Refuses rows that are not those of the run.
    pub fn check_data(&self, data: &Fingerprint) -> Result<()> {
        if self.data == *data {
            return Ok(());
        }
        let rows =
            |f: &Fingerprint| format!("{} rows for training and {} for validation", f.train, f.validation);
        let how = match (rows(&self.data), rows(data)) {
            (old, new) if old == new => "their texts have changed".to_owned(),
            (old, new) => format!("{new}, and it began with {old}"),
        };
        Err(Error::user(format!(
            "the data are not those of the run: {how}; put the files back as they were or name where they are \
             (custom_train_dataset_path, ...), or start a new run"
        )))
    }

    /// What computes otherwise than before, for people.
    pub fn other_machine(&self, here: &Machine) -> Option<String> {
        let told =
            |m: &Machine| format!("{} with {} threads and libtorch {}", m.device, m.threads, m.libtorch);
        (self.machine != *here).then(|| {
            format!(
                "the run began on {}, and goes on with {}: its last digits may differ from those of a run that was \
                 not interrupted",
                told(&self.machine),
                told(here)
            )
        })
    }

    /// How to split a step: as before, unless this machine has so much less memory that it would not fit.
    pub fn passes(&self, now: Passes) -> (Passes, Option<String>) {
        let old = self.passes;
        // A forecast asks for a quarter to a half of the memory that is left.
        let fits = |old: Limits, now: Limits| old.tokens / 2 <= now.tokens && old.targets / 2 <= now.targets;
        let same_way = old.recompute || !now.recompute;
        if same_way && fits(old.training, now.training) && fits(old.evaluation, now.evaluation) {
            return (old, None);
        }
        let warning = "there is less memory than when the run began: steps are split otherwise, and the last digits \
                       may differ from those of a run that was not interrupted";
        (now, Some(warning.to_owned()))
    }
}

/// The optimizer's state and, where the checkpoint's own weights are rounded, the weights in fp32.
pub fn tensors(state: &State<'_>) -> BTreeMap<String, Tensor> {
    let optimizer = state.optimizer;
    let mut tensors = BTreeMap::from([("step".to_owned(), Tensor::from_slice(&[optimizer.steps]))]);
    tensors.extend(optimizer.state().map(|(name, vector)| (name.to_owned(), vector.shallow_clone())));
    if !state.trainable.exports_exactly(state.kind) {
        tensors.insert("theta".to_owned(), state.trainable.theta().0.shallow_clone());
    }
    tensors
}

/// Puts weights and optimizer back as they were at the checkpoint in `dir`, which has been verified.
pub fn restore(dir: &Path, trainable: &mut Trainable, optimizer: &mut Optimizer) -> Result<()> {
    adapter::load_weights(dir, trainable)?;
    let path = dir.join(run::OPTIMIZER);
    let shard = weights::Shard::open(&path)?;
    let tensors = shard.tensors()?;
    let theta = trainable.theta().0.shallow_clone();
    let vector =
        |name: &str, like: &Tensor| vector(&tensors, name, like).map_err(|e| e.context(path.display()));
    let steps = steps(&tensors).user(format!("{}: step", path.display()))?;
    optimizer.restore(steps, vector)?;
    if tensors.names().contains(&"theta") {
        trainable.set_theta(&vector("theta", &theta)?);
    }
    Ok(())
}

/// The vector `name`, as long as `like` and where it is.
fn vector(tensors: &SafeTensors<'_>, name: &str, like: &Tensor) -> Result<Tensor> {
    let view = tensors.tensor(name).user(name)?;
    let (shape, wanted) = (view.shape(), like.numel());
    if shape != [wanted] {
        return Err(Error::user(format!("{name} has shape {shape:?}, and the run's has {wanted} numbers")));
    }
    weights::to_tensor(&view, Kind::Float, like.device()).user(name)
}

fn steps(tensors: &SafeTensors<'_>) -> Result<i64, String> {
    let view = tensors.tensor("step").map_err(|e| e.to_string())?;
    let bytes = <[u8; 8]>::try_from(view.data()).map_err(|_| "not one number of 64 bits".to_owned())?;
    Ok(i64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(tokens: usize) -> Limits {
        Limits { tokens, targets: 100 }
    }

    fn passes(tokens: usize, recompute: bool) -> Passes {
        Passes { training: limits(tokens), evaluation: limits(tokens), recompute }
    }

    fn rows(ids: &[u32]) -> Vec<Example> {
        ids.iter().map(|&id| Example { ids: vec![1, id], labels: vec![-100, id.into()] }).collect()
    }

    #[test]
    fn the_split_is_kept_while_it_fits() {
        let progress = Progress::start(passes(100, false), Fingerprint::of(&[], &[]), None, tch::Device::Cpu);
        assert_eq!(progress.passes(passes(50, false)), (passes(100, false), None));
        assert_eq!(progress.passes(passes(900, false)), (passes(100, false), None));
        for less in [passes(49, false), passes(100, true)] {
            let (taken, warning) = progress.passes(less);
            assert!(taken == less && warning.is_some());
        }
    }

    #[test]
    fn other_rows_are_refused() {
        let progress = |train: &[u32]| {
            Progress::start(
                passes(1, false),
                Fingerprint::of(&rows(train), &rows(&[9])),
                None,
                tch::Device::Cpu,
            )
        };
        let began = progress(&[5, 6, 7]);
        assert!(began.check_data(&progress(&[5, 6, 7]).data).is_ok());
        for (other, needle) in
            [(&[5, 7, 6][..], "texts have changed"), (&[5, 6], "2 rows for training"), (&[], "began with 3")]
        {
            let e = began.check_data(&progress(other).data).unwrap_err();
            assert!(e.exit_code() == 2 && e.to_string().contains(needle), "{e}");
        }
    }

    /// What is written comes back to the last bit, NaN included.
    #[test]
    fn progress_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut progress =
            Progress::start(passes(3, true), Fingerprint::of(&rows(&[1]), &[]), None, tch::Device::Cpu);
        progress.window.add(0.1 + 0.2, 1.0 / 3.0);
        progress.seconds = 1.0 / 7.0;
        std::fs::write(dir.path().join(run::OPTIMIZER), "").unwrap();
        run::write_json(&dir.path().join(run::PROGRESS), &progress).unwrap();
        assert_eq!(Progress::read(dir.path()).unwrap(), progress);
        progress.window.add(f64::NAN, 0.0);
        run::write_json(&dir.path().join(run::PROGRESS), &progress).unwrap();
        assert!(Progress::read(dir.path()).unwrap().window.take().0.is_nan());
        for broken in ["", "[1]", "{\"version\":1}", "{\"version\":99}", "{\"version\":\"1\"}"] {
            std::fs::write(dir.path().join(run::PROGRESS), broken).unwrap();
            let e = Progress::read(dir.path()).unwrap_err();
            assert!(e.exit_code() == 2 && e.to_string().contains(run::PROGRESS), "{e}");
        }
    }
}
