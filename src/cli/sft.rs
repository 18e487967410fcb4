//! `qwen-tui sft`: the arguments are checked, a run directory is made, and a worker is followed in the foreground.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use qwen_tui::args::{self, SftArgs};
use qwen_tui::error::{Error, Result, shown};
use qwen_tui::hub::Sources;
use qwen_tui::job::go_on::{self, Typed};
use qwen_tui::job::runs::RunStatus;
use qwen_tui::job::stop::Beginning;
use qwen_tui::job::{
    Begin, Event, Outcome, Resume, locate, newest_whole, ready_engine, results, resume_foreground,
    run_foreground,
};
use qwen_tui::run::{RunDir, check_output_dir, existing, list_checkpoints, read_events};

use super::beginning::{NOT_BEGUN, end_at_once, fetch, tell_not_begun};
use super::fetch::Newer;
use super::report::{Left, report};
use super::{out, wants_help};

const HELP: &str = "\
Train: LoRA or full fine-tuning, with SWIFT's arguments

Usage: qwen-tui sft [--config FILE] [--ARGUMENT VALUE]...

--config FILE reads arguments from a JSON object, such as configs/jd-sentiment.json or the sft_args.json that SWIFT \
writes; an argument given here overrides the file's. Lists are written `--dataset a b`.

The progress goes to standard error: a bar on a terminal, lines elsewhere. Ctrl-C finishes the step at hand, saves and \
ends. At the end standard output has four lines for scripts (a checkpoint that there is none of is left out):
  run_dir: PATH
  last_checkpoint: PATH
  best_checkpoint: PATH
  state: finished, stopped (by Ctrl-C, a signal or a command; exit status 0 too) or failed
Where it is stopped before anything has begun, `state: stopped` stands there alone.

--resume_from_checkpoint last goes on with the newest unfinished run of these arguments in output_dir, or starts one \
where there is none; with the directory of a run or of a checkpoint it goes on from there. The result is the same as \
if the run had never ended (docs/resume.md). With --resume_only_model true a new run starts from its weights alone.

--queue puts the job into the queue instead of starting it here: it waits until no job of yours trains on its device, \
and starts by itself (docs/jobs.md). Standard output then has two lines, `job: N` and `place: N`.

Examples:
  qwen-tui sft --config configs/jd-sentiment.json
  qwen-tui sft --resume_from_checkpoint output/qwen-1_8b/v0-20250101-120000
  qwen-tui sft --model_type qwen-1_8b --model_id_or_path DIR --dataset rows.jsonl
";

/// Not an argument of the job: it is in no file.
const QUEUE_FLAG: &str = "--queue";

pub fn run(raw: Vec<OsString>) -> Result<()> {
    if wants_help(&raw) {
        return out::help(&format!("{HELP}\n{}", args::help_text(args::FIELDS)));
    }
    let (queued, raw) = split_queue(raw);
    let typed: Vec<String> = raw.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let beginning = if queued { None } else { Some(Beginning::watched(end_at_once)?) };
    let (config, flags) = split_config(raw)?;
    let names_config = config.is_some();
    let config = config_of(config, &flags)?;
    let loaded = args::load_sft(config.as_deref(), &flags)?;
    for warning in &loaded.warnings {
        out::note(&format!("warning: {warning}"));
    }
    let mut args = loaded.args;
    // A file that asks to go on would ask for it again.
    if !names_config || !config.as_deref().is_some_and(asks_to_go_on) {
        let queue = queued.then(|| QUEUE_FLAG.to_owned());
        Typed::keep(&queue.into_iter().chain(typed).collect::<Vec<_>>(), names_config, &args);
    }
    // Without an engine too: the job waits for one.
    let Some(beginning) = beginning else { return super::queue::put(args) };
    // Asked now, so that no empty run is left behind.
    ready_engine()?;
    args.make_paths_absolute();
    let args = match Begin::from(args)? {
        Begin::Resume { resume, args } => return go_on(*resume, *args, &beginning),
        Begin::New { args, notes, .. } => {
            notes.iter().for_each(|note| out::note(note));
            args
        }
    };
    check_output_dir(Path::new(&args.output_dir), &args.model_type, args.add_output_dir_suffix)?;
    // Before the directory is made: what is told then leaves nothing behind.
    let located = locate(&args, &mut |absent| fetch(absent, &beginning))?;
    located.notes.iter().for_each(|note| out::note(note));
    let newer = args.check_model_is_latest.then(|| located.model.map(Newer::ask)).flatten();
    beginning.begin();
    let there_before = existing(Path::new(&args.output_dir));
    let run = RunDir::create(Path::new(&args.output_dir), &args.model_type, args.add_output_dir_suffix)?;
    let result = run
        .write_args(&args.to_json())
        .and_then(|()| Sources::write(located.sources.as_ref(), run.path()))
        .and_then(|()| run_foreground(run.path(), !args.disable_tqdm, &beginning));
    let refused = matches!(result, Err(Error::User(_) | Error::NoRoom(_))) && !began(&run);
    match result.transpose() {
        Some(result) if !refused => {
            let ended = end(&run, result);
            newer.into_iter().for_each(Newer::tell);
            ended
        }
        // A mistake in an argument or a file: what is left of it would only be in the way of the next attempt.
        Some(result) => {
            run.discard(&there_before);
            result.map(drop)
        }
        None => {
            run.discard(&there_before);
            tell_not_begun()
        }
    }
}

/// Goes on with a run in its own directory.
fn go_on(mut resume: Resume, args: SftArgs, beginning: &Beginning) -> Result<()> {
    beginning.begin();
    let before = resume.args.clone();
    resume.take(args)?;
    for warning in &resume.warnings {
        out::note(&format!("warning: {warning}"));
    }
    let run = &resume.run;
    if resume.finished {
        out::note(&format!("{} is finished; nothing is left to train", shown(run.path())));
        return out::text(&report(run, Left::on_disk(run, resume.whole), RunStatus::Finished));
    }
    out::note(&match resume.step {
        Some(step) => format!("going on from {}", shown(&run.checkpoint(step))),
        None => format!("{} has no whole checkpoint: starting from the beginning", shown(run.path())),
    });
    resume.locate(&mut |absent| fetch(absent, beginning))?.iter().for_each(|note| out::note(note));
    let events = || read_events::<Event>(&run.events_file()).unwrap_or_default();
    let told = events().len();
    let result = resume_foreground(run.path(), resume.step, !resume.args.disable_tqdm, beginning);
    let stepped = || events().iter().skip(told).any(|record| record.event.is_step());
    if !before.moved(&resume.args).is_empty() && matches!(result, Err(Error::User(_))) && !stepped() {
        // What lies at the new places is not what the run began with.
        run.write_args(&before.to_json())?;
    }
    match result.transpose() {
        Some(result) => end(run, result),
        None => {
            out::text(&report(run, Left::on_disk(run, resume.step), RunStatus::Stopped))?;
            out::note(&format!("{NOT_BEGUN}; {}", how_to_go_on(run.path())));
            Ok(())
        }
    }
}

/// Reports what lies on disk, and how to go on with a run that was stopped.
pub fn end(run: &RunDir, result: Result<Outcome>) -> Result<()> {
    let told = result.as_ref().ok().map(|outcome| Left::told(run, outcome));
    report_end(run, result, told)
}

/// The same of a run whose worker may have ended long ago: checkpoints that are damaged by now are told.
pub fn end_attached(run: &RunDir, result: Result<Outcome>) -> Result<()> {
    let left = result.as_ref().ok().map(|outcome| {
        let (whole, warnings) = results(run);
        warnings.iter().for_each(|warning| out::note(&format!("warning: {warning}")));
        Left::checked(run, outcome, whole)
    });
    report_end(run, result, left)
}

fn report_end(run: &RunDir, result: Result<Outcome>, left: Option<Left>) -> Result<()> {
    let status = match &result {
        Ok(outcome) if outcome.stopped => RunStatus::Stopped,
        Ok(_) => RunStatus::Finished,
        Err(_) => RunStatus::Failed,
    };
    let left = left.unwrap_or_else(|| Left::on_disk(run, newest_whole(run)));
    out::text(&report(run, left, status))?;
    if status == RunStatus::Stopped {
        out::note(&how_to_go_on(run.path()));
    }
    result.map(drop)
}

/// How a run that was stopped is gone on with.
pub fn how_to_go_on(run: &Path) -> String {
    format!("to go on with it: {}", go_on::command(run))
}

/// Where the arguments stand: in the file given, or else in the run that is gone on with.
///
/// # Errors
/// There is no such run: better told than which arguments are missing for a new one.
fn config_of(config: Option<PathBuf>, flags: &[String]) -> Result<Option<PathBuf>> {
    let flag = "--resume_from_checkpoint";
    let named = flags.iter().enumerate().rev().find_map(|(i, word)| match word.strip_prefix(flag)? {
        "" => flags.get(i + 1).map(String::as_str),
        rest => rest.strip_prefix('='),
    });
    let Some(dir) = named.filter(|dir| *dir != "last" && config.is_none()) else { return Ok(config) };
    let file = Path::new(dir).join(args::ARGS_FILE);
    // For its weights alone an adapter without arguments will do.
    let weights_alone = flags.iter().any(|word| word.starts_with("--resume_only_model"));
    if !file.is_file() && !weights_alone {
        Resume::of(Path::new(dir))?;
    }
    Ok(file.is_file().then_some(file))
}

fn asks_to_go_on(config: &Path) -> bool {
    args::read_object(config)
        .is_ok_and(|args| args.get("resume_from_checkpoint").is_some_and(|v| !v.is_null()))
}

/// Whether a run has anything to show: a step or a checkpoint.
fn began(run: &RunDir) -> bool {
    let events = read_events::<Event>(&run.events_file()).unwrap_or_default();
    events.iter().any(|record| record.event.is_step()) || !list_checkpoints(run).is_empty()
}

/// Takes `--queue` out of the arguments; whether it was there.
fn split_queue(raw: Vec<OsString>) -> (bool, Vec<OsString>) {
    let words = raw.len();
    let rest: Vec<OsString> = raw.into_iter().filter(|word| word != QUEUE_FLAG).collect();
    (rest.len() < words, rest)
}

/// Takes `--config FILE` (or `--config=FILE`) out of the arguments.
fn split_config(raw: Vec<OsString>) -> Result<(Option<PathBuf>, Vec<String>)> {
    let mut config = None;
    let mut flags = Vec::new();
    let mut raw = raw.into_iter();
    while let Some(arg) = raw.next() {
        let text = match arg.into_string() {
            Ok(text) => text,
            Err(arg) => return Err(Error::user(format!("the argument {arg:?} is not UTF-8"))),
        };
        let file = match text.strip_prefix("--config") {
            Some("") => raw.next().map(PathBuf::from),
            Some(rest) if rest.starts_with('=') => Some(PathBuf::from(&rest[1..])),
            _ => {
                flags.push(text);
                continue;
            }
        };
        let file = file.filter(|f| !f.as_os_str().is_empty());
        let file =
            file.ok_or_else(|| Error::user("--config wants a file, such as configs/jd-sentiment.json"))?;
        if config.replace(file).is_some() {
            return Err(Error::user("--config was given twice: put the arguments into one file"));
        }
    }
    Ok((config, flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(words: &[&str]) -> Result<(Option<PathBuf>, Vec<String>)> {
        split_config(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn the_file_is_found_wherever_it_stands() {
        for words in [["--lora_rank", "4", "--config", "a.json"], ["--config", "a.json", "--lora_rank", "4"]]
        {
            let (config, flags) = split(&words).unwrap();
            assert_eq!(config.as_deref(), Some(Path::new("a.json")));
            assert_eq!(flags, ["--lora_rank", "4"]);
        }
        assert_eq!(split(&["--config=b.json"]).unwrap().0, Some("b.json".into()));
        assert!(split(&["--config"]).is_err() && split(&["--config="]).is_err());
        assert!(split(&["--config", "a", "--config", "b"]).is_err());
        assert_eq!(split(&["--configure", "x"]).unwrap().1, ["--configure", "x"]);
    }

    #[test]
    fn a_run_brings_its_own_arguments() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join("sft_args.json"), "{}").unwrap();
        let dir = run.path().to_str().unwrap();
        let words = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
        let file = Some(run.path().join("sft_args.json"));
        assert_eq!(config_of(None, &words(&["--resume_from_checkpoint", dir])).unwrap(), file);
        assert_eq!(config_of(None, &words(&[&format!("--resume_from_checkpoint={dir}")])).unwrap(), file);
        let given = Some(PathBuf::from("a"));
        assert_eq!(config_of(given.clone(), &words(&["--resume_from_checkpoint", dir])).unwrap(), given);
        for other in [&["--resume_from_checkpoint", "last"][..], &["--resume_from_checkpoint"]] {
            assert_eq!(config_of(None, &words(other)).unwrap(), None);
        }
        let e = config_of(None, &words(&["--resume_from_checkpoint", "/nowhere"])).unwrap_err();
        assert!(e.to_string().contains("/nowhere"), "{e}");
    }
}
