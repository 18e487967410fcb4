//! What the REPL server answers with, and the answers.

use std::path::{Path, PathBuf};
use std::time::Instant;

use qwen_tui::args::{InferArgs, load_infer};
use qwen_tui::data::{Row, Template};
use qwen_tui::error::{Error, Result};
use qwen_tui::job::repl::{Generate, Open, Reply, Request};
use rand_mt::Mt;

use crate::device;
use crate::infer::{Base, Session, base_dir, generate::Generation};

/// A loaded model, and what is needed to turn to another checkpoint over it.
pub struct Server {
    session: Session,
    base: Base,
    args: InferArgs,
    /// How answers are drawn where a request does not say.
    how: Generation,
    random: Mt,
    loaded_in: f64,
}

impl Server {
    /// Loads what `flags` name; `warn` hears what a person should know.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn open(flags: &[String], warn: &mut dyn FnMut(&str)) -> Result<Self> {
        let began = Instant::now();
        let loaded = load_infer(flags)?;
        loaded.warnings.iter().for_each(|w| warn(w));
        let args = loaded.args;
        let (session, base) = Session::open_with_base(&args)?;
        let (how, random) = (Generation::from(&args), Mt::new(args.seed as u32));
        Ok(Self { session, base, args, how, random, loaded_in: began.elapsed().as_secs_f64() })
    }

    /// The first reply.
    pub fn ready(&self) -> Reply {
        let device = device::label(self.base.device);
        Reply::Ready { ready: true, model: self.name(), device, seconds: self.loaded_in }
    }

    /// Directory of the checkpoint or the base.
    fn name(&self) -> String {
        self.args.ckpt_dir.clone().unwrap_or_else(|| self.base.dir.display().to_string())
    }

    /// Answers one request; `stream` hears the pieces of a generated text.
    ///
    /// # Errors
    /// What the request asked cannot be done; the server is as before.
    pub fn answer(
        &mut self,
        request: Request,
        cancelled: &dyn Fn() -> bool,
        stream: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<Reply> {
        let began = Instant::now();
        let seconds = || began.elapsed().as_secs_f64();
        match request {
            Request::Generate { id, how } => {
                let (text, cancelled) = self.generate(&how, cancelled, stream)?;
                Ok(Reply::Done { id, done: true, text, cancelled, seconds: seconds() })
            }
            _ if cancelled() => Err(Error::user("cancelled")),
            Request::Classify { id, text } => {
                let verdict = self.session.classify(&[text])?.pop();
                let verdict = verdict.ok_or_else(|| Error::internal("a text without a label"))?;
                let (label, probabilities) = (verdict.label, verdict.probabilities);
                Ok(Reply::Label { id, label, probabilities, seconds: seconds() })
            }
            Request::Open { id, what } => {
                let (loaded, warnings) = self.turn_to(what)?;
                Ok(Reply::Opened { id, opened: self.name(), loaded, warnings, seconds: seconds() })
            }
            Request::Cancel { .. } => Err(Error::internal("a cancel is obeyed where it is read")),
        }
    }

    /// The whole answer, and whether it was cancelled.
    fn generate(
        &mut self,
        asked: &Generate,
        cancelled: &dyn Fn() -> bool,
        stream: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<(String, bool)> {
        if asked.prompt.is_empty() {
            return Err(Error::user("prompt is empty: there is nothing to answer"));
        }
        let how = drawn(asked, &self.how)?;
        let row = Row { history: asked.history.clone(), ..Row::new(asked.prompt.clone(), "") };
        self.session.template.check(std::slice::from_ref(&row))?;
        let prompt = self.session.template.encode_prompt(&self.session.tokenizer, &row);
        let limit = self.session.model.config().seq_length as usize;
        if prompt.len() >= limit {
            return Err(Error::user(format!(
                "prompt has {} tokens; the model's context is {limit}: shorten it",
                prompt.len()
            )));
        }
        let mut own = asked.seed.map(|seed| Mt::new(seed as u32));
        let random = own.as_mut().unwrap_or(&mut self.random);
        let mut told = String::new();
        let mut stopped = false;
        let mut hear = |text: &str| {
            stream(text.get(told.len()..).unwrap_or_default())?;
            text.clone_into(&mut told);
            Ok(())
        };
        let answer = self.session.generate_until(&prompt, &how, random, &mut hear, &mut || {
            stopped = stopped || cancelled();
            stopped
        })?;
        Ok((answer, stopped))
    }

    /// Turns to another checkpoint or base: whether a base was loaded, and what a person should know.
    fn turn_to(&mut self, what: Open) -> Result<(bool, Vec<String>)> {
        let (args, warnings) = match what {
            Open::CkptDir(dir) => self.args_of(dir)?,
            Open::Base(dir) => {
                let mut args = InferArgs { ckpt_dir: None, ..self.args.clone() };
                if let Some(dir) = dir {
                    (args.model_id_or_path, args.model_cache_dir) = (Some(dir), None);
                }
                (args, Vec::new())
            }
        };
        let loaded = !same(&base_dir(&args)?, &self.base.dir);
        if loaded {
            (self.session, self.base) = Session::open_with_base(&args)?;
        } else {
            let template = Template::new(&args.template_type, args.system.as_deref())?;
            self.session.model = self.base.assemble(&args)?;
            self.session.template = template;
        }
        self.args = args;
        Ok((loaded, warnings))
    }

    /// The arguments of the checkpoint in `dir`, on the device and in the dtype of now. Its own base is taken where it
    /// is here, and the present one where it is not or where the checkpoint names none.
    fn args_of(&self, dir: String) -> Result<(InferArgs, Vec<String>)> {
        let base = self.base.dir.display().to_string();
        let mut flags = vec!["--ckpt_dir", &dir, "--device", &self.args.device];
        flags.extend(["--dtype", device::dtype_name(self.base.kind)]);
        if !Path::new(&dir).join("sft_args.json").is_file() {
            flags.extend(["--model_type", &self.args.model_type, "--model_id_or_path", &base]);
        }
        let flags: Vec<String> = flags.into_iter().map(str::to_owned).collect();
        let loaded = load_infer(&flags).or_else(|e| {
            // Its base may have moved: the present one is tried, and what was wrong is told if that is not it.
            let here =
                ["--model_type", &self.args.model_type, "--model_id_or_path", &base].map(str::to_owned);
            let mut loaded = load_infer(&[&flags[..], &here[..]].concat()).map_err(|_| e.clone())?;
            loaded
                .warnings
                .insert(0, format!("{dir}: its base model is not there ({e}); {base} takes its place"));
            Ok::<_, Error>(loaded)
        })?;
        let (mut args, mut warnings) = (loaded.args, loaded.warnings);
        args.threads = self.args.threads;
        let named = base_dir(&args);
        if !named.as_ref().is_ok_and(|dir| dir.is_dir()) {
            let named = named.map_or_else(|e| e.to_string(), |dir| dir.display().to_string());
            warnings.push(format!("{dir}: its base model is not there ({named}); {base} takes its place"));
            (args.model_id_or_path, args.model_cache_dir) = (Some(base), None);
        }
        Ok((args, warnings))
    }
}

/// Whether two paths lead to one directory.
fn same(a: &Path, b: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
    whole(a) == whole(b)
}

/// How an answer is drawn: as asked, else as usual.
fn drawn(asked: &Generate, usual: &Generation) -> Result<Generation> {
    let how = Generation {
        max_new_tokens: asked.max_new_tokens.map_or(usual.max_new_tokens, |n| n as usize),
        do_sample: asked.do_sample.unwrap_or(usual.do_sample),
        temperature: asked.temperature.unwrap_or(usual.temperature),
        top_k: asked.top_k.map_or(usual.top_k, |n| n as usize),
        top_p: asked.top_p.unwrap_or(usual.top_p),
        repetition_penalty: asked.repetition_penalty.unwrap_or(usual.repetition_penalty),
    };
    let wrong = |key: &str, allowed: &str| Err(Error::user(format!("{key} must be {allowed}")));
    if !(1..=1 << 20).contains(&how.max_new_tokens) {
        return wrong("max_new_tokens", "from 1 to 1048576");
    }
    if !(how.temperature > 0.0 && how.temperature.is_finite()) {
        return wrong("temperature", "above 0");
    }
    if !(how.top_p > 0.0 && how.top_p <= 1.0) {
        return wrong("top_p", "above 0, at most 1");
    }
    if !(how.repetition_penalty > 0.0 && how.repetition_penalty.is_finite()) {
        return wrong("repetition_penalty", "above 0");
    }
    Ok(how)
}
