//! Somebody's home with recorded runs in it, read by the code that the cockpit reads runs with.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use qwen_tui::args::{SftArgs, load_sft};
use qwen_tui::job::Event;
use qwen_tui::job::checkpoints::{Base, RunDetails, bytes};
use qwen_tui::job::runs::{RunSummary, list_runs};
use qwen_tui::run::{Record, RunDir, read_events, write_checkpoint};
use serde_json::Value;

use super::{OUTPUT, root};

/// What the home is called in what was read from it.
const HOME: &str = "/home/me";

/// A folder that stands for [`HOME`]; its `output` holds the runs.
pub struct Home {
    dir: tempfile::TempDir,
}

/// What a checkpoint is laid out with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Whole,
    /// Saved without what a training goes on with.
    WeightsOnly,
    /// A file of it is cut short.
    Damaged,
}

impl Home {
    pub fn new() -> Home {
        let home = Home { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(home.path("output")).unwrap();
        // The demo's own, so that the runs can be gone on with.
        fs::create_dir_all(home.path("models/底座模型")).unwrap();
        let base = home.path("models/底座模型/qwen-demo");
        std::os::unix::fs::symlink(root().join("demo/base"), base).unwrap();
        fs::create_dir(home.path("数据")).unwrap();
        for name in ["评论训练集", "评论训练集二"] {
            fs::write(home.path(&format!("数据/{name}.jsonl")), "{}\n").unwrap();
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// The directory of a run that was read here.
    pub fn real(&self, run: &str) -> PathBuf {
        self.path(run.strip_prefix(HOME).unwrap().trim_start_matches('/'))
    }

    /// Lays out the directory of `run` with its arguments; the event log is the recorded one of the name `log`, as far as
    /// `wanted` says.
    pub fn run(&self, run: &str, log: Option<&str>, wanted: impl Fn(&Record<Event>) -> bool) -> RunDir {
        let dir = self.real(run);
        fs::create_dir_all(&dir).unwrap();
        let run = RunDir::made(&dir);
        run.write_args(&self.args().to_json()).unwrap();
        set_time(&run.args_file(), 1_698_667_200.0);
        if let Some(log) = log {
            let text = fs::read_to_string(recording(log)).unwrap();
            let records = read_events::<Event>(&recording(log)).unwrap();
            let lines = text.lines().zip(records).take_while(|(_, record)| wanted(record));
            let text: String = lines.map(|(line, _)| format!("{line}\n")).collect();
            fs::write(run.events_file(), text).unwrap();
        }
        run
    }

    fn args(&self) -> SftArgs {
        let flags = format!(
            "--model_type qwen-demo --model_id_or_path {0}/models/底座模型/qwen-demo --custom_train_dataset_path \
             {0}/数据/评论训练集.jsonl {0}/数据/评论训练集二.jsonl --learning_rate 0.02 --max_length -1 --eval_steps 10 \
             --save_steps 10 --output_dir {0}/output",
            self.path("").display().to_string().trim_end_matches('/')
        );
        let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
        load_sft(None, &flags).unwrap().args
    }

    /// Lays out a checkpoint of `run` with the size and the time that the recorded log `log` tells of it, or, where it
    /// tells of none, with those of another.
    pub fn checkpoint(&self, run: &RunDir, log: &str, step: u64, kind: Kind) {
        let told = read_events::<Event>(&recording(log)).unwrap().into_iter().filter_map(|r| match r.event {
            Event::Checkpoint { step, bytes: size, .. } => Some((step, size, r.time)),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        let (_, wanted, time) = *told.iter().find(|(s, ..)| *s == step).unwrap_or(&told[0]);
        let fill = |dir: &Path| {
            fs::create_dir(dir.join("default")).unwrap();
            File::create(dir.join("default/adapter_model.safetensors")).unwrap().set_len(wanted / 2).unwrap();
            if kind != Kind::WeightsOnly {
                fs::write(dir.join("optimizer.safetensors"), "moments").unwrap();
                fs::write(dir.join("resume.json"), "{}").unwrap();
            }
            Ok(())
        };
        let (path, _) = write_checkpoint(run, step, fill).unwrap();
        let list = path.join("checksums.json");
        let mut sums: Value = serde_json::from_slice(&fs::read(&list).unwrap()).unwrap();
        sums["written"] = time.into();
        fs::write(&list, serde_json::to_vec(&sums).unwrap()).unwrap();
        // The rest of its size: what was added later is no damage.
        let rest = wanted - bytes(&path);
        File::create(path.join("infer_result.jsonl")).unwrap().set_len(rest).unwrap();
        if kind == Kind::Damaged {
            let weights = File::options().write(true).open(path.join("default/adapter_model.safetensors"));
            weights.unwrap().set_len(wanted / 4).unwrap();
        }
        set_time(&path, time);
    }

    /// Lays out what the checkpoint of `step` was merged into, or a model or folder of somebody's in its place.
    pub fn merged(&self, run: &RunDir, step: u64, is_model: bool, is_ours: bool) {
        let dir = run.checkpoint(step).with_file_name(format!("checkpoint-{step}-merged"));
        fs::create_dir_all(&dir).unwrap();
        for name in
            [is_model.then_some("config.json"), is_ours.then_some("merged.json")].into_iter().flatten()
        {
            fs::write(dir.join(name), "{}").unwrap();
        }
        // Takes no room on the disk.
        File::create(dir.join("model.safetensors")).unwrap().set_len(3_700_000_000).unwrap();
        set_time(&dir, 1_700_000_100.0);
    }

    /// Takes what a worker at the run holds.
    pub fn lock(run: &RunDir) -> File {
        let lock = File::create(run.path().join("worker.lock")).unwrap();
        lock.lock().unwrap();
        lock
    }

    /// The runs, as the cockpit lists them.
    pub fn runs(&self) -> Vec<RunSummary> {
        let mut runs = list_runs(&self.path("output"));
        for run in &mut runs {
            run.path = self.told_path(&run.path);
            for text in [&mut run.problem, &mut run.stays, &mut run.checkpoints_stay] {
                *text = text.as_deref().map(|text| self.told(text));
            }
        }
        runs
    }

    /// A run's details, as the cockpit reads them. Its size is rounded: the length of this folder's name is in it.
    pub fn details(&self, run: &str) -> RunDetails {
        let mut details = RunDetails::read(&self.real(run));
        details.path = self.told_path(&details.path);
        details.args_file = self.told_path(&details.args_file);
        details.bytes = details.bytes.next_multiple_of(100_000);
        details.checkpoints.iter_mut().for_each(|c| {
            c.path = self.told_path(&c.path);
            c.resumable = c.resumable.as_ref().map(|_| ()).map_err(|why| self.told(why));
        });
        details.merged.iter_mut().for_each(|m| m.path = self.told_path(&m.path));
        details.base = details.base.map(|base| Base {
            name: self.told(&base.name),
            path: base.path.map(|path| self.told_path(&path)),
        });
        details.args = match details.args {
            Ok(args) => Ok(args.into_iter().map(|(name, value)| (name, self.told(&value))).collect()),
            Err(why) => Err(self.told(&why)),
        };
        details.ready = details.ready.map_err(|why| self.told(&why));
        details
    }

    fn told(&self, text: &str) -> String {
        text.replace(self.path("").to_string_lossy().trim_end_matches('/'), HOME)
    }

    fn told_path(&self, path: &Path) -> PathBuf {
        self.told(path.to_str().unwrap()).into()
    }
}

fn recording(name: &str) -> PathBuf {
    root().join(format!("tests/data/events/{name}.jsonl"))
}

fn set_time(path: &Path, unix: f64) {
    File::open(path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs_f64(unix)).unwrap();
}

#[test]
fn a_home_is_read_as_if_it_were_the_one_that_it_is_called() {
    let home = Home::new();
    let run = home.run(&format!("{OUTPUT}/qwen-demo/v0-a"), Some("overfit"), |_| true);
    home.checkpoint(&run, "overfit", 10, Kind::Whole);
    let details = home.details(&format!("{OUTPUT}/qwen-demo/v0-a"));
    assert_eq!((details.ready, details.checkpoints[0].bytes), (Ok(()), 453_033));
    assert!(details.checkpoints[0].best && details.checkpoints[0].written == 1_700_000_017.759);
    assert_eq!(home.runs()[0].path, Path::new(OUTPUT).join("qwen-demo/v0-a"));
}
