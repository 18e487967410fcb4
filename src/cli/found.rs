//! What the commands that answer read: names in their arguments become directories before the engine is started.

use std::ffi::OsString;
use std::path::Path;

use qwen_tui::args::{InferArgs, load_infer, load_infer_texts, load_merge};
use qwen_tui::error::Result;
use qwen_tui::hub::{Sources, Wanted};

use super::fetch::fetch;
use super::out;

/// `args` of the `subcommand`, with paths beside them for what they name and do not say the place of. What is wrong with
/// them is left to the engine to say.
///
/// # Errors
/// What is named is not on this machine, and no hub gives it.
pub fn with_paths(subcommand: &str, args: &[OsString]) -> Result<Vec<OsString>> {
    let Some(loaded) = load(subcommand, args) else { return Ok(args.to_vec()) };
    // A checkpoint of full training is its own model.
    let is_whole = |dir: &String| Path::new(dir).join("config.json").is_file();
    let whole = loaded.ckpt_dir.as_ref().is_some_and(is_whole);
    let mut wanted = Wanted::from(&loaded);
    if whole {
        wanted.model_cache_dir.clone_from(&loaded.ckpt_dir);
    }
    if subcommand != "infer" {
        wanted.dataset.clear();
    }
    let before = loaded.ckpt_dir.as_deref().map(Path::new).and_then(Sources::of_checkpoint);
    // The run's own data sets are no matter here.
    let before = before.filter(|before| before.wanted.same_model(&wanted));
    let before = before.map(|before| Sources { wanted: wanted.clone(), ..before });
    let located = wanted.locate(before.as_ref(), &mut fetch)?;
    located.notes.iter().for_each(|note| out::note(note));
    let Some(sources) = located.sources else { return Ok(args.to_vec()) };
    let flags = sources.flags(&loaded.custom_val_dataset_path)?;
    // A whole model is named by its checkpoint.
    let from = if whole { 2 } else { 0 };
    let paths: Vec<OsString> = flags.into_iter().skip(from).map(OsString::from).collect();
    Ok(match subcommand {
        // Its texts are last.
        "classify" => [&paths, args].concat(),
        // The last one counts.
        _ => [args, &paths].concat(),
    })
}

fn load(subcommand: &str, args: &[OsString]) -> Option<InferArgs> {
    let args: Option<Vec<String>> = args.iter().map(|arg| arg.to_str().map(str::to_owned)).collect();
    let args = args?;
    let loaded = match subcommand {
        "classify" => load_infer_texts(&args).map(|(loaded, _)| loaded),
        "merge-lora" => load_merge(&args),
        _ => load_infer(&args),
    };
    loaded.ok().map(|loaded| loaded.args)
}
