//! How the server is told to take a model: by its arguments, or by opening it over the one it has.

use std::path::Path;

use crate::args::models::is_id;
use crate::args::{ARGS_FILE, INFER_FIELDS, SftArgs, typed};
use crate::error::{Error, Result};
use crate::hub::{Caches, Place, Sources, Wanted};
use crate::job::repl::{Generate, Open};
use crate::job::runs;
use crate::plain;
use crate::run::has_adapter;
use crate::tui::repl::{BaseModel, Model};

/// A model as the server takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Arguments of a server that starts with it.
    pub flags: Vec<String>,
    pub open: Open,
    /// Template and system message; a checkpoint brings its own along, a base has to be told.
    pub template: Option<(String, Option<String>)>,
    /// How answers are drawn; the prompt is empty.
    pub how: Generate,
}

impl Source {
    /// Finds out about `model` from the arguments that lie with it.
    ///
    /// # Errors
    /// `Error::User` for a directory that is not there, or a run that names no base.
    pub fn of(model: &Model) -> Result<Source> {
        match model {
            Model::Checkpoint(dir) => checkpoint(dir),
            Model::BaseOf(run) => base_of(run),
            Model::Base(BaseModel { dir, model_type, template_type, system, dtype }) => {
                if !dir.is_dir() {
                    return Err(Error::user("there is no such directory"));
                }
                let mut source =
                    base(&dir.display().to_string(), model_type, template_type, system.as_deref());
                source.flags.extend(["--dtype".to_owned(), dtype.clone()]);
                Ok(source)
            }
            Model::At(dir) => {
                let dir = typed(dir);
                let dir = std::path::absolute(&dir).unwrap_or(dir);
                if !dir.is_dir() {
                    return Err(match dir.parent().filter(|_| dir.exists()) {
                        Some(above) => Error::user(format!(
                            "this is a file; a model is a directory, perhaps {}",
                            above.display()
                        )),
                        None => Error::user("there is no such directory"),
                    });
                }
                let has_args = dir.join(ARGS_FILE).is_file();
                let is_model = dir.join("config.json").is_file();
                if is_model && !has_args {
                    Ok(base_at(&dir))
                } else if is_model || has_args || has_adapter(&dir) || runs::is_run(&dir) {
                    checkpoint(&dir)
                } else {
                    Err(Error::user(
                        "there is no model in this directory: a checkpoint has default/adapter_config.json (SWIFT's \
                         layout) or adapter_config.json (PEFT's), a base model has config.json, qwen.tiktoken and \
                         model.safetensors",
                    ))
                }
            }
        }
    }

    /// Whether the template has a place for earlier turns.
    pub fn converses(&self) -> bool {
        self.template.as_ref().is_some_and(|(name, _)| !name.starts_with("default-generation"))
    }

    /// `open` over a server whose model has `template` would answer in the right one.
    pub fn fits(&self, template: Option<&(String, Option<String>)>) -> bool {
        matches!(self.open, Open::CkptDir(_)) || self.template.as_ref() == template
    }

    /// Whether its directory is there no more: what the server has loaded goes on answering.
    pub fn is_gone(&self) -> bool {
        let (Open::CkptDir(dir) | Open::Base(Some(dir))) = &self.open else { return false };
        !Path::new(dir).exists()
    }

    /// How answers are drawn, in words.
    pub fn drawing(&self) -> String {
        let how = &self.how;
        let most = how.max_new_tokens.unwrap_or(0);
        if how.do_sample == Some(false) {
            return format!("always the likeliest token, at most {most}");
        }
        let figure = |x: Option<f64>| x.map_or("?".to_owned(), |x| x.to_string());
        format!(
            "temperature {}, top-k {}, top-p {}, at most {most} tokens",
            figure(how.temperature),
            how.top_k.unwrap_or(0),
            figure(how.top_p)
        )
    }
}

fn checkpoint(dir: &Path) -> Result<Source> {
    if !dir.is_dir() {
        return Err(Error::user("there is no such directory (any more)"));
    }
    let name = dir.display().to_string();
    let args = SftArgs::from_run_dir(dir).ok();
    let mut flags = vec!["--ckpt_dir".to_owned(), name.clone()];
    // The engine is told directories. What is named by its path, it finds by itself.
    let is_name = |args: &&SftArgs| {
        args.model_cache_dir.is_none()
            && args.model_id_or_path.as_ref().is_some_and(|name| is_id(name) && !Path::new(name).exists())
            && !dir.join("config.json").is_file()
    };
    let run = dir.canonicalize().ok().and_then(|dir| Some(dir.parent()?.to_owned()));
    if let Some(args) = args.as_ref().filter(is_name)
        && let Ok(base) = model_of(args, run.as_deref().unwrap_or(dir))
    {
        flags.extend(["--model_cache_dir".to_owned(), base]);
    }
    Ok(Source {
        flags,
        open: Open::CkptDir(name),
        template: args.as_ref().map(template),
        how: args.map_or_else(usual, |args| drawn(&args)),
    })
}

/// The directory of the base model that the `args` of the run in `run` name: the one that it was given, or what is on this
/// machine by that name.
///
/// # Errors
/// They name none, or it is not here.
fn model_of(args: &SftArgs, run: &Path) -> Result<String> {
    let wanted = Wanted::from(args);
    let given = Sources::read(run).ok().flatten().filter(|given| given.wanted.same_model(&wanted));
    let dir = match given.filter(|given| given.model.is_dir()) {
        Some(given) => given.model,
        None => match wanted.model(&Caches::here())? {
            Place::Absent(absent) => return Err(absent.error(None)),
            place => place.path().to_owned(),
        },
    };
    dir.to_str().map(str::to_owned).ok_or_else(|| Error::user(format!("{}: not UTF-8", dir.display())))
}

fn base_of(run: &Path) -> Result<Source> {
    let args = SftArgs::from_run_dir(run)?;
    let dir = model_of(&args, run).map_err(|e| e.context(format!("{}: its base model", run.display())))?;
    let mut source = base(&dir, &args.model_type, &args.template_type, args.system.as_deref());
    source.flags.extend(["--dtype".to_owned(), args.dtype.clone()]);
    source.how = drawn(&args);
    Ok(source)
}

/// A model's directory that somebody has typed. Qwen's own say in `generation_config.json` whether they were made to
/// converse.
fn base_at(dir: &Path) -> Source {
    let config = plain::read(&dir.join("generation_config.json"), plain::SETTINGS).unwrap_or_default();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
    match config["chat_format"].as_str() {
        Some("chatml") => base(&dir.display().to_string(), "qwen-1_8b-chat", "qwen", None),
        _ => base(&dir.display().to_string(), "qwen-1_8b", "default-generation", None),
    }
}

fn base(dir: &str, model_type: &str, template: &str, system: Option<&str>) -> Source {
    let mut flags = Vec::new();
    let named = [("--model_type", model_type), ("--model_id_or_path", dir), ("--template_type", template)];
    for (name, value) in named.into_iter().chain(system.map(|s| ("--system", s))) {
        flags.extend([name.to_owned(), value.to_owned()]);
    }
    let template = Some((template.to_owned(), system.map(str::to_owned)));
    Source { flags, open: Open::Base(Some(dir.to_owned())), template, how: usual() }
}

fn template(args: &SftArgs) -> (String, Option<String>) {
    (args.template_type.clone(), args.system.clone())
}

/// As the run's arguments say.
fn drawn(args: &SftArgs) -> Generate {
    Generate {
        max_new_tokens: Some(args.max_new_tokens),
        do_sample: Some(args.do_sample),
        temperature: Some(args.temperature),
        top_k: Some(args.top_k),
        top_p: Some(args.top_p),
        repetition_penalty: Some(args.repetition_penalty),
        ..Generate::default()
    }
}

/// As `infer` does where nothing else is said.
fn usual() -> Generate {
    let number = |key: &str| {
        INFER_FIELDS.iter().find(|f| f.name == key).map(|f| f.default.value()).unwrap_or_default()
    };
    Generate {
        max_new_tokens: number("max_new_tokens").as_u64(),
        do_sample: number("do_sample").as_bool(),
        temperature: number("temperature").as_f64(),
        top_k: number("top_k").as_u64(),
        top_p: number("top_p").as_f64(),
        ..Generate::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, content: &str) {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join(name), content).unwrap();
    }

    #[test]
    fn arguments_say_how_a_model_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let run = root.path().join("qwen-1_8b-chat/v0-x");
        let args = r#"{"model_type":"qwen-1_8b-chat","model_id_or_path":"/models/chat","sft_type":"lora",
            "system":"你是","dataset":["jd-sentiment-zh"],"temperature":0.5,"max_new_tokens":9,"dtype":"bf16"}"#;
        let ckpt = run.join("checkpoint-5");
        write(&run, "sft_args.json", args);
        write(&ckpt, "sft_args.json", args);

        let source = Source::of(&Model::Checkpoint(ckpt.clone())).unwrap();
        assert_eq!(source.flags, ["--ckpt_dir".to_owned(), ckpt.display().to_string()]);
        assert_eq!((source.how.temperature, source.how.max_new_tokens), (Some(0.5), Some(9)));
        assert!(source.converses() && source.fits(None));
        assert_eq!(source.drawing(), "temperature 0.5, top-k 20, top-p 0.7, at most 9 tokens");
        assert_eq!(Source::of(&Model::At(ckpt)).unwrap(), source);

        let base = Source::of(&Model::BaseOf(run)).unwrap();
        assert_eq!(base.open, Open::Base(Some("/models/chat".to_owned())));
        let flags = base.flags.join(" ");
        for flag in ["--model_type qwen-1_8b-chat", "--template_type qwen", "--system 你是", "--dtype bf16"]
        {
            assert!(flags.contains(flag), "{flags}");
        }
        assert!(base.fits(source.template.as_ref()) && !base.fits(None));

        // A base that no run names yet.
        let named = BaseModel {
            dir: root.path().to_owned(),
            model_type: "qwen-demo".to_owned(),
            template_type: "default-generation".to_owned(),
            system: None,
            dtype: "fp32".to_owned(),
        };
        let source = Source::of(&Model::Base(named.clone())).unwrap();
        assert!(source.flags.join(" ").contains("--model_type qwen-demo") && !source.converses());
        let none = Model::Base(BaseModel { dir: "/no/such/底座".into(), ..named });
        assert!(Source::of(&none).unwrap_err().to_string().contains("no such directory"));
    }

    #[test]
    fn a_typed_directory_is_a_checkpoint_or_a_base() {
        let root = tempfile::tempdir().unwrap();
        let (raw, chat) = (root.path().join("raw"), root.path().join("chat"));
        write(&raw, "config.json", "{}");
        write(&chat, "config.json", "{}");
        write(&chat, "generation_config.json", r#"{"chat_format":"chatml"}"#);
        let of = |dir: &Path| Source::of(&Model::At(dir.to_owned()));
        assert!(!of(&raw).unwrap().converses() && of(&chat).unwrap().converses());
        assert_eq!(of(&raw).unwrap().how.max_new_tokens, Some(2048));
        // A directory of neither kind is told with both, and a file as one.
        let neither = of(root.path()).unwrap_err().to_string();
        assert!(neither.contains("adapter_config.json") && neither.contains("qwen.tiktoken"), "{neither}");
        let file = of(&raw.join("config.json")).unwrap_err().to_string();
        assert!(file.contains("this is a file") && file.contains(raw.to_str().unwrap()), "{file}");
        let adapter = root.path().join("适配器");
        write(&adapter.join("mine"), "adapter_config.json", "{");
        assert!(matches!(of(&adapter).unwrap().open, Open::CkptDir(_)), "the engine says what is wrong");
        let run = root.path().join("run");
        std::fs::create_dir_all(run.join("checkpoint-5")).unwrap();
        assert!(matches!(of(&run).unwrap().open, Open::CkptDir(_)), "and names its checkpoint");
        assert!(!of(&run).unwrap().is_gone());
        let none = of(&root.path().join("none")).unwrap_err();
        assert!(none.to_string().contains("no such directory"), "{none}");
        // Broken arguments are the engine's to refuse.
        write(&raw, "sft_args.json", "{");
        assert!(matches!(of(&raw).unwrap().open, Open::CkptDir(_)));
    }
}
