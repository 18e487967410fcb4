//! What there is to choose from.

use std::path::{Path, PathBuf};

use crate::args::SftArgs;
use crate::job::checkpoints::RunDetails;
use crate::run::RunDir;
use crate::tui::repl::RunModels;

/// The models of `runs`, in their order; what cannot be read is left out.
pub fn list(runs: &[PathBuf]) -> Vec<RunModels> {
    runs.iter().filter_map(|run| models(run)).collect()
}

fn models(dir: &Path) -> Option<RunModels> {
    let run = RunDir::open(dir).ok()?;
    let args = SftArgs::from_run_dir(dir).ok();
    // By the same rule as on the Checkpoints tab.
    let RunDetails { checkpoints, merged, .. } = RunDetails::read(run.path());
    let whole = || checkpoints.iter().filter(|c| c.whole);
    Some(RunModels {
        run: dir.to_owned(),
        base: args.and_then(|a| a.model_cache_dir.or(a.model_id_or_path)),
        checkpoints: whole().map(|c| c.step).collect(),
        merged: merged.iter().filter(|m| m.is_model).map(|m| m.step).collect(),
        best: whole().find(|c| c.best).map(|c| c.step),
        last: whole().find(|c| c.last).map(|c| c.step),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::TrainerState;

    #[test]
    fn the_models_of_a_run_are_its_checkpoints_and_its_base() {
        let root = tempfile::tempdir().unwrap();
        let run = root.path().join("v0-x");
        for step in [50, 100] {
            let dir = run.join(format!("checkpoint-{step}"));
            std::fs::create_dir_all(&dir).unwrap();
            let state = TrainerState {
                best_model_checkpoint: Some("/elsewhere/v0-x/checkpoint-50".into()),
                ..TrainerState::default()
            };
            state.write(&dir).unwrap();
        }
        let args =
            r#"{"model_type":"qwen-1_8b","model_id_or_path":"/models/基座","dataset":["jd-sentiment-zh"]}"#;
        std::fs::write(run.join("sft_args.json"), args).unwrap();
        for (step, file) in [(50, "config.json"), (100, "notes")] {
            let merged = run.join(format!("checkpoint-{step}-merged"));
            std::fs::create_dir(&merged).unwrap();
            std::fs::write(merged.join(file), "{}").unwrap();
        }
        let found = list(&[root.path().join("none"), run.clone()]);
        let wanted = RunModels {
            run,
            base: Some("/models/基座".to_owned()),
            checkpoints: vec![50, 100],
            merged: vec![50],
            best: Some(50),
            last: Some(100),
        };
        assert_eq!(found, [wanted]);
    }
}
