//! Removing old checkpoints, by the rule of `save_total_limit`.

use std::cmp::Ordering;
use std::fs;

use super::checkpoint::{CheckpointInfo, hidden, list_checkpoints};
use super::dir::RunDir;
use super::files::{file_error, sync_dir};
use super::whole::remove;
use crate::error::Result;

/// Removes checkpoints until `limit` are left, and returns their steps.
///
/// The rule is that of transformers (`Trainer._rotate_checkpoints`): checkpoints stand in the order they were
/// written, the best is moved to the last place but one, and from the front they go until `limit` are left. With
/// limit 2 the last and the best stay, with 3 also the newest of the others. With limit 1
/// the last stays beside the best, since a run that is cut off could not be resumed without it (transformers
/// removes it when the training has ended). None, and 0, keep all.
///
/// `keep` holds the steps that must stay, usually the best's; they and the last stay even where they exceed
/// `limit`. The order is that of writing and not of steps, because a run resumed from an earlier checkpoint writes
/// smaller steps than the ones it abandoned.
///
/// Errors: `Error::User` where a checkpoint cannot be removed. One that is removed in part is never listed.
pub fn rotate(run: &RunDir, limit: Option<usize>, keep: &[u64]) -> Result<Vec<u64>> {
    let Some(limit) = limit.filter(|n| *n > 0) else { return Ok(Vec::new()) };
    let mut removed = Vec::new();
    for step in surplus(list_checkpoints(run), limit, keep) {
        let (path, aside) = (run.checkpoint(step), hidden(run, step, "rm"));
        remove(&aside)?;
        fs::rename(&path, &aside).map_err(|e| file_error("remove", &path, &e))?;
        remove(&aside)?;
        removed.push(step);
    }
    sync_dir(run.path());
    Ok(removed)
}

/// The steps to remove, oldest first.
fn surplus(mut list: Vec<CheckpointInfo>, limit: usize, keep: &[u64]) -> Vec<u64> {
    list.sort_by(|a, b| {
        a.written.partial_cmp(&b.written).unwrap_or(Ordering::Equal).then(a.step.cmp(&b.step))
    });
    let excess = list.len().saturating_sub(limit);
    let last = list.pop();
    let removable = list.iter().map(|c| c.step).filter(|s| !keep.contains(s));
    if last.is_none() { Vec::new() } else { removable.take(excess).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::write_checkpoint;

    fn infos(steps: &[u64]) -> Vec<CheckpointInfo> {
        let info = |(i, step): (usize, &u64)| CheckpointInfo {
            step: *step,
            path: "".into(),
            bytes: 1,
            written: i as f64,
            checksums: true,
        };
        steps.iter().enumerate().map(info).collect()
    }

    /// The rule as transformers states it, by moving the best and cutting the front.
    fn transformers(mut order: Vec<u64>, limit: usize, best: Option<u64>) -> Vec<u64> {
        let enough = order.len() <= limit;
        let extra = usize::from(limit == 1 && best.is_some() && order.last() != best.as_ref());
        if let Some(i) = order.iter().position(|s| Some(*s) == best).filter(|i| i + 2 < order.len()) {
            let best = order.remove(i);
            order.insert(order.len() - 1, best);
        }
        order.truncate(if enough { 0 } else { order.len().saturating_sub(limit + extra) });
        order
    }

    #[test]
    fn the_rule_is_transformers() {
        for n in 0..7u64 {
            let steps: Vec<u64> = (1..=n).map(|i| i * 50).collect();
            for limit in 1..5 {
                for best in steps.iter().map(|b| Some(*b)).chain([None]) {
                    let keep: Vec<u64> = best.into_iter().collect();
                    assert_eq!(
                        surplus(infos(&steps), limit, &keep),
                        transformers(steps.clone(), limit, best),
                        "{n} checkpoints, limit {limit}, best {best:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_order_is_that_of_writing() {
        // Resumed at 50, after 100 and 150 had been written: 60 is the last.
        assert_eq!(surplus(infos(&[50, 100, 150, 60]), 2, &[100]), [50, 150]);
        assert_eq!(surplus(infos(&[50, 100, 150, 60]), 1, &[50, 100]), [150]);
    }

    #[test]
    fn a_run_keeps_the_last_and_the_best() {
        let out = tempfile::tempdir().unwrap();
        let run = RunDir::create(out.path(), "qwen-1_8b", true).unwrap();
        let mut removed = Vec::new();
        for step in [50, 100, 125] {
            write_checkpoint(&run, step, |d| {
                fs::write(d.join("f"), "x").unwrap();
                Ok(())
            })
            .unwrap();
            assert!(rotate(&run, None, &[]).unwrap().is_empty());
            assert!(rotate(&run, Some(0), &[]).unwrap().is_empty());
            removed.extend(rotate(&run, Some(2), &[50]).unwrap());
        }
        assert_eq!(removed, [100]);
        assert_eq!(list_checkpoints(&run).iter().map(|c| c.step).collect::<Vec<_>>(), [50, 125]);
        assert_eq!(fs::read_dir(run.path()).unwrap().count(), 2, "nothing hidden is left");
    }
}
