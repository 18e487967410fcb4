//! `merge-lora`, and the merge before `infer` (`merge_lora_and_save`).

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use qwen_tui::args::InferArgs;
use qwen_tui::error::{Context, Error, Result};
use qwen_tui::job::human;
use qwen_tui::job::inputs::check_model_dir;
use qwen_tui::job::merge::PROGRESS;
use qwen_tui::run::MERGED;
use qwen_tui::shell;
use qwen_tui::stderr::note;
use tokio::signal::unix::{SignalKind, signal};

use super::place::{behind_links, is_free, listed};
use super::record::Record;
use super::{Job, Merged, SHARD_BYTES, check_lora, merge, named_kind, usual_target};
use crate::infer::interrupt::{CONVERSING, INTERRUPTED};
use crate::infer::{base_dir, is_whole};
use crate::model::adapter::Adapter;

/// What `args` ask for.
///
/// # Errors
/// No checkpoint or no base is named.
fn job(args: &InferArgs) -> Result<Job> {
    let Some(checkpoint) = args.ckpt_dir.as_ref().map(PathBuf::from) else {
        return Err(Error::user(
            "merge-lora needs the checkpoint whose adapter it merges: give --ckpt_dir DIR",
        ));
    };
    check_lora(&checkpoint)?;
    let target = match &args.output {
        Some(output) => PathBuf::from(output),
        None => usual_target(&checkpoint)?,
    };
    Ok(Job {
        base: base_dir(args)?,
        checkpoint,
        target,
        overwrite: args.overwrite,
        kind: named_kind(&args.dtype)?,
        shard_bytes: SHARD_BYTES,
    })
}

/// `merge-lora`: tells on standard error how far it is, and on standard output the directory.
pub fn run(args: &InferArgs) -> Result<String> {
    let job = job(args)?;
    if let Some(threads) = args.threads {
        tch::set_num_threads(threads as i32);
    }
    let merged = watched(&job)?;
    note(&told(&merged));
    Ok(job.target.display().to_string())
}

fn told(merged: &Merged) -> String {
    let replaced = match merged.replaced {
        0 => String::new(),
        n => format!(" and {}", human::counted(n as u64, "trained weight")),
    };
    format!(
        "merged {}{replaced}: {} in {}",
        human::counted(merged.modules as u64, "module"),
        human::bytes(merged.bytes),
        human::counted(merged.files as u64, "file")
    )
}

/// The merge that `infer` makes first, as SWIFT's does: one that is there already is used again. `args` name the merged
/// model after it.
///
/// # Errors
/// What [`merge`] returns; an earlier merge of something else; something else in its place.
pub fn before_infer(args: &mut InferArgs) -> Result<()> {
    // The dtype of the answers is no matter of the weights on disk, and where a merge goes is merge-lora's.
    let plain = InferArgs { dtype: "AUTO".to_owned(), output: None, overwrite: false, ..args.clone() };
    let job = job(&plain)?;
    let place = behind_links(&job.target)?;
    let made = if is_free(&place) { Some(watched(&job)) } else { None };
    match made {
        Some(Ok(merged)) => note(&format!("{}\nmerged model: {}", told(&merged), job.target.display())),
        // It was free: what is there now another process has merged meanwhile.
        Some(Err(e)) if is_free(&place) => return Err(e),
        _ => {
            check_earlier(&job, &place)?;
            note(&format!("merged already: {}", job.target.display()));
        }
    }
    let target = job.target.to_str().ok_or_else(|| Error::user("ckpt_dir: its path is not UTF-8"))?;
    args.ckpt_dir = Some(target.to_owned());
    args.sft_type = "full".to_owned();
    Ok(())
}

/// Whether what is at `place` is the merge that `job` would make. Of one without a record (SWIFT's) that cannot be told.
///
/// # Errors
/// It is not, or no merged model at all: what it is, and what to do.
fn check_earlier(job: &Job, place: &Path) -> Result<()> {
    let (shown, checkpoint) = (job.target.display(), shell::word(&job.checkpoint));
    let has_record = place.join(MERGED).exists();
    if !has_record && !is_whole(place) {
        let mut names: Vec<_> =
            place.read_dir().into_iter().flatten().flatten().map(|e| e.file_name()).collect();
        names.sort();
        let holds = match place.is_dir() {
            true => format!("a directory with {} and without config.json", listed(&names)),
            false => "no directory".to_owned(),
        };
        return Err(Error::user(format!(
            "{shown}: is where the merged model belongs, and is none ({holds}): move it elsewhere, or merge to another \
             place (`qwen-tui merge-lora --ckpt_dir {checkpoint} --output DIR`) and give that as --ckpt_dir"
        )));
    }
    if !has_record {
        note(&format!(
            "{shown} has no {MERGED}: whether it was made of this checkpoint as it is now cannot be told"
        ));
        return check_model_dir(place);
    }
    let earlier = Record::read(place).map_err(|e| {
        e.context(format!(
            "{shown}: what it was made of cannot be told; move it elsewhere, and it is made anew"
        ))
    })?;
    let differences = Record::new(job, &Adapter::read(&job.checkpoint)?)?.differences(&earlier);
    if !differences.is_empty() {
        return Err(Error::user(format!(
            "{shown}: was merged of something else: {}. `qwen-tui merge-lora --ckpt_dir {checkpoint} --model_id_or_path \
             {} --overwrite` makes it anew",
            differences.join("; "),
            shell::word(&job.base)
        )));
    }
    check_model_dir(place)
}

/// The merge with its progress on standard error: a bar on a terminal, a line for each tenth elsewhere. SIGINT and
/// SIGTERM end it, cleaned up, with status 130; a second one ends it at once.
fn watched(job: &Job) -> Result<Merged> {
    let signals = Signals::listen()?;
    let bar = match std::io::stderr().is_terminal() {
        true => ProgressBar::new(0),
        false => ProgressBar::hidden(),
    };
    if let Ok(style) = ProgressStyle::with_template("{bytes} of {total_bytes} [{bar:30}] {eta}") {
        bar.set_style(style.progress_chars("##-"));
    }
    let mut tenths = 0;
    let outcome = merge(job, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        let now = done * 10 / total.max(1);
        if bar.is_hidden() && now > tenths {
            tenths = now;
            note(&format!("{PROGRESS}{} %", now * 10));
        }
        !signals.stop()
    });
    bar.finish_and_clear();
    signals.merging.store(false, Ordering::SeqCst);
    match outcome {
        Err(e) if signals.stop() => {
            note(&e.to_string());
            std::process::exit(INTERRUPTED)
        }
        outcome => outcome,
    }
}

/// SIGINT and SIGTERM, which a process that has once listened for them has to answer itself ever after.
struct Signals {
    count: AtomicUsize,
    merging: AtomicBool,
}

impl Signals {
    /// Listens from now on.
    fn listen() -> Result<Arc<Signals>> {
        let shared = Arc::new(Signals { count: AtomicUsize::new(0), merging: AtomicBool::new(true) });
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().internal("starting tokio")?;
        let catch = async { Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)) };
        let caught: std::io::Result<_> = runtime.block_on(catch);
        let (mut interrupt, mut terminate) = caught.internal("catching SIGINT and SIGTERM")?;
        let heard = Arc::clone(&shared);
        std::thread::spawn(move || {
            loop {
                let interrupted = runtime.block_on(async {
                    tokio::select! {
                        _ = interrupt.recv() => true,
                        _ = terminate.recv() => false,
                    }
                });
                heard.hear(interrupted && CONVERSING.load(Ordering::SeqCst));
            }
        });
        Ok(shared)
    }

    /// Whether the merge is to end.
    fn stop(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Takes a signal; `elsewhere`: a conversation has heard it too.
    fn hear(&self, elsewhere: bool) {
        let first = self.count.fetch_add(1, Ordering::SeqCst) == 0;
        let cleaning = first && self.merging.load(Ordering::SeqCst);
        if !cleaning && !elsewhere {
            std::process::exit(INTERRUPTED);
        }
    }
}
