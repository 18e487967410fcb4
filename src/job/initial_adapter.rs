//! The adapter that a training begins with (`init_adapter`): where it lies, and whether it is what the arguments train.

use std::path::{Path, PathBuf};

use crate::args::{SftArgs, adapter_file};
use crate::error::{Error, Result, shown};
use crate::run::{ADAPTER_CONFIG, AdapterConfig, CHECKSUMS, Needed, adapter_folder, has_adapter, verify};

/// `init_adapter`, and the arguments that its weights alone do not show to be others.
#[derive(Debug, Clone, PartialEq)]
pub struct InitialAdapter {
    named: String,
    rank: usize,
    alpha: f64,
}

impl InitialAdapter {
    /// None where a training begins with an adapter of its own.
    pub fn of(args: &SftArgs) -> Option<InitialAdapter> {
        let (rank, alpha) = (args.lora_rank, args.lora_alpha);
        args.init_adapter.clone().map(|named| InitialAdapter { named, rank, alpha })
    }

    /// Whether it is there and, where its `adapter_config.json` lies beside it, computes what the arguments say. Cheap.
    ///
    /// # Errors
    /// `Error::User`: no such file; another rank or alpha; a setting that makes other numbers of the same weights.
    pub fn look(&self) -> Result<()> {
        let Some(config) = self.config()? else { return Ok(()) };
        same_strength(self.rank, self.alpha, &config.0, &config.1)
    }

    /// The file of weights, after [`look`](Self::look) and a comparison with the checksums of the checkpoint it is in.
    ///
    /// # Errors
    /// `look`'s, and a damaged checkpoint.
    pub fn checked_file(&self) -> Result<PathBuf> {
        self.look()?;
        let file = self.file()?;
        if let Some(checkpoint) = file.ancestors().skip(1).take(2).find(|dir| dir.join(CHECKSUMS).is_file()) {
            verify(checkpoint, Needed::Weights)?;
        }
        Ok(file)
    }

    /// What its config says of the arguments that its weights must fit, for a message.
    pub fn said(&self) -> String {
        let Ok(Some((config, _))) = self.config() else { return String::new() };
        let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(" ") };
        format!(
            "; give what its {ADAPTER_CONFIG} says: lora_target_modules {}, lora_bias_trainable {}, lora_modules_to_save {}",
            list(&config.target_modules),
            config.bias.as_str(),
            list(&config.modules_to_save)
        )
    }

    fn file(&self) -> Result<PathBuf> {
        let path = Path::new(&self.named);
        let file = if path.is_file() { Some(path.to_owned()) } else { adapter_file(path) };
        file.ok_or_else(|| {
            let what = match path.is_dir() {
                true if has_adapter(path) => match adapter_folder(path) {
                    Err(several) => return several.context("init_adapter"),
                    Ok(_) => "there is no adapter_model.safetensors beside its adapter_config.json",
                },
                true => "there is no adapter_model.safetensors in this directory",
                false => "no such file",
            };
            Error::user(format!(
                "init_adapter: {}: {what}; give a checkpoint or an adapter's .safetensors file",
                shown(path)
            ))
        })
    }

    /// The config beside the weights; weights by themselves have none.
    fn config(&self) -> Result<Option<(AdapterConfig, PathBuf)>> {
        let file = self.file()?.with_file_name(ADAPTER_CONFIG);
        if !file.is_file() {
            return Ok(None);
        }
        let (config, _) = AdapterConfig::read(&file).map_err(|e| e.context("init_adapter"))?;
        Ok(Some((config, file)))
    }
}

/// Whether an adapter's rank and alpha, as `file` has them, are those to train with: its weights mean something else with
/// another alpha.
///
/// # Errors
/// `Error::User` names the argument and what to give.
pub fn same_strength(rank: usize, alpha: f64, config: &AdapterConfig, file: &Path) -> Result<()> {
    let differing = [("lora_rank", rank as f64, config.r as f64), ("lora_alpha", alpha, config.lora_alpha)];
    match differing.into_iter().find(|(_, here, there)| here != there) {
        None => Ok(()),
        Some((key, here, there)) => Err(Error::user(format!(
            "{key} is {here} here and {there} in {}: give {key} {there}",
            shown(file)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Bias, Layout};

    fn adapter(dir: &Path, layout: Layout, changed: &[(&str, serde_json::Value)]) -> PathBuf {
        let config = AdapterConfig {
            r: 8,
            lora_alpha: 32.0,
            lora_dropout: 0.0,
            target_modules: vec!["c_attn".to_owned()],
            bias: Bias::None,
            modules_to_save: Vec::new(),
            lora_dtype: None,
            base_model_name_or_path: None,
        };
        let weights = config.write(dir, layout).unwrap();
        std::fs::write(&weights, "weights").unwrap();
        let file = weights.with_file_name(ADAPTER_CONFIG);
        let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for (key, value) in changed {
            json[*key] = value.clone();
        }
        std::fs::write(file, json.to_string()).unwrap();
        weights
    }

    fn initial(named: &Path, rank: usize, alpha: f64) -> InitialAdapter {
        InitialAdapter { named: named.display().to_string(), rank, alpha }
    }

    #[test]
    fn what_makes_other_numbers_of_the_same_weights_is_refused() {
        for layout in [Layout::Swift, Layout::Peft] {
            let dir = tempfile::tempdir().unwrap();
            let weights = adapter(dir.path(), layout, &[]);
            for named in [dir.path(), &weights] {
                assert_eq!(initial(named, 8, 32.0).checked_file().unwrap(), weights);
                let e = initial(named, 8, 16.0).look().unwrap_err().to_string();
                assert!(e.contains("give lora_alpha 32"), "{e}");
                let e = initial(named, 4, 32.0).look().unwrap_err().to_string();
                assert!(e.contains("give lora_rank 8"), "{e}");
            }
            assert!(initial(&weights, 8, 32.0).said().contains("lora_target_modules c_attn"));
            let weights = adapter(dir.path(), layout, &[("fan_in_fan_out", true.into())]);
            let e = initial(&weights, 8, 32.0).look().unwrap_err().to_string();
            assert!(e.contains("init_adapter") && e.contains("fan_in_fan_out"), "{e}");
            // Weights by themselves are taken at their word.
            std::fs::remove_file(weights.with_file_name(ADAPTER_CONFIG)).unwrap();
            initial(&weights, 4, 1.0).checked_file().unwrap();
        }
    }

    #[test]
    fn a_checkpoints_checksums_are_compared() {
        let dir = tempfile::tempdir().unwrap();
        let run = crate::run::RunDir::create(dir.path(), "qwen-1_8b", true).unwrap();
        let fill = |dir: &Path| {
            adapter(dir, Layout::Swift, &[]);
            Ok(())
        };
        crate::run::write_checkpoint(&run, 5, fill).unwrap();
        let initial = initial(&run.checkpoint(5), 8, 32.0);
        let weights = initial.checked_file().unwrap();
        std::fs::write(weights, "Weights").unwrap();
        let e = initial.checked_file().unwrap_err().to_string();
        assert!(e.contains("damaged"), "{e}");
    }
}
