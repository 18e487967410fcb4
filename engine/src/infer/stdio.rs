//! `infer` and `classify` on standard input and output.

use std::ffi::OsString;
use std::io::{BufRead, ErrorKind, IsTerminal, Write};

use qwen_tui::args::{load_infer, load_infer_texts, load_merge};
use qwen_tui::error::{Context, Error, Result};
use qwen_tui::stderr;

use super::classify::Text;
use super::lines::Lines;
use super::{Session, merge, prompt, rows};

/// Texts labelled at once when they come from standard input.
const CHUNK: usize = 256;

/// Standard output, which remembers that its reader has gone.
pub struct Out<W> {
    inner: W,
    closed: bool,
}

impl<W: Write> Out<W> {
    pub fn new(inner: W) -> Self {
        Self { inner, closed: false }
    }

    /// The outcome of what was written; a reader that has seen enough (`| head`) is no error.
    pub fn unless_closed(&self, outcome: Result<()>) -> Result<()> {
        if self.closed { Ok(()) } else { outcome }
    }

    fn note<T>(&mut self, done: std::io::Result<T>) -> std::io::Result<T> {
        self.closed |= matches!(&done, Err(e) if e.kind() == ErrorKind::BrokenPipe);
        done
    }
}

impl<W: Write> Write for Out<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let done = self.inner.write(bytes);
        self.note(done)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let done = self.inner.flush();
        self.note(done)
    }
}

/// Arguments as text.
///
/// # Errors
/// One that is not UTF-8, by its number on the command line.
pub(super) fn utf8(args: &[OsString]) -> Result<Vec<String>> {
    let text = |(n, arg): (usize, &OsString)| {
        arg.to_str().map(str::to_owned).ok_or_else(|| {
            Error::user(format!("the command line: argument {} ({}) is not UTF-8", n + 1, arg.display()))
        })
    };
    args.iter().enumerate().map(text).collect()
}

pub(super) fn warn(warnings: &[String]) {
    for warning in warnings {
        stderr::warning(warning);
    }
}

/// A person waits at the keyboard meanwhile.
fn say_loading() {
    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        stderr::note("loading the model ...");
    }
}

/// `infer` with SWIFT's arguments: answers to validation rows, or to queries at a prompt.
pub fn infer(args: &[OsString]) -> Result<()> {
    let mut loaded = load_infer(&utf8(args)?)?;
    warn(&loaded.warnings);
    if loaded.args.merge_lora_and_save {
        merge::command::before_infer(&mut loaded.args)?;
    }
    say_loading();
    let session = Session::open(&loaded.args)?;
    let mut out = Out::new(std::io::stdout().lock());
    let done = if loaded.args.eval_human {
        prompt::converse(&session, &loaded.args, &mut std::io::stdin().lock(), &mut out)
    } else {
        rows::answer_rows(&session, &loaded.args, &mut out)
    };
    out.unless_closed(done)
}

/// `merge-lora`: a whole model of a checkpoint's adapter and its base; its directory goes to standard output.
pub fn merge_lora(args: &[OsString]) -> Result<()> {
    let loaded = load_merge(&utf8(args)?)?;
    warn(&loaded.warnings);
    let dir = merge::command::run(&loaded.args)?;
    let mut out = Out::new(std::io::stdout().lock());
    let told = writeln!(out, "{dir}").and_then(|()| out.flush()).user("standard output");
    out.unless_closed(told)
}

/// `repl`: JSON lines in and out with a model that stays loaded.
pub fn repl(args: &[OsString]) -> Result<()> {
    let mut out = Out::new(std::io::stdout().lock());
    let done = crate::repl::serve(&utf8(args)?, std::io::stdin(), &mut out);
    out.unless_closed(done)
}

/// `classify`: a JSON line for each text, of the command line or else of standard input.
pub fn classify(args: &[OsString]) -> Result<()> {
    let (loaded, texts) = load_infer_texts(&utf8(args)?)?;
    warn(&loaded.warnings);
    say_loading();
    let session = Session::open(&loaded.args)?;
    let mut out = Out::new(std::io::stdout().lock());
    let done = if texts.is_empty() {
        let input = std::io::stdin();
        if input.is_terminal() {
            stderr::note("A text a line; Ctrl-D ends.");
        }
        // A person at the keyboard wants each answer at once.
        let chunk = if input.is_terminal() { 1 } else { CHUNK };
        classify_lines(&session, &mut input.lock(), chunk, &mut out)
    } else {
        session.prepare_all(&texts).and_then(|texts| tell(&session, &texts, &mut out))
    };
    out.unless_closed(done)
}

/// Labels each line that is not empty, `chunk` at once. What stands before a bad line is answered first.
pub fn classify_lines(
    session: &Session,
    input: &mut dyn BufRead,
    chunk: usize,
    out: &mut dyn Write,
) -> Result<()> {
    let mut lines = Lines::new(input);
    let mut waiting: Vec<Text> = Vec::new();
    let mut found = false;
    loop {
        let line = lines.next_line().and_then(|line| {
            let Some(line) = line else { return Ok(None) };
            if line.trim().is_empty() {
                return Ok(Some(None));
            }
            session.prepare(&line).map(|text| Some(Some(text))).map_err(|e| e.context(lines.place()))
        });
        match line {
            Ok(Some(None)) => continue,
            Ok(Some(Some(text))) => {
                found = true;
                waiting.push(text);
                if waiting.len() >= chunk {
                    tell(session, &std::mem::take(&mut waiting), out)?;
                }
            }
            Ok(None) if !found => {
                return Err(Error::user(
                    "no text to classify: give texts after the arguments, or on standard input, one a line",
                ));
            }
            Ok(None) => return tell(session, &waiting, out),
            Err(e) => {
                tell(session, &waiting, out)?;
                return Err(e);
            }
        }
    }
}

fn tell(session: &Session, texts: &[Text], out: &mut dyn Write) -> Result<()> {
    for verdict in session.label(texts)? {
        let line = serde_json::to_string(&verdict).internal("writing JSON")?;
        writeln!(out, "{line}").and_then(|()| out.flush()).user("standard output")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    /// A pipe whose reader is gone.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_closed_output_is_no_error() {
        let mut out = Out::new(Gone);
        let mine = || Err(Error::user("a file named Broken pipe"));
        assert!(out.unless_closed(mine()).is_err());
        assert!(writeln!(out, "x").is_err());
        assert!(out.unless_closed(mine()).is_ok());
    }

    #[test]
    fn an_argument_that_is_no_text_is_told_by_its_number() {
        let args = ["--ckpt_dir".into(), OsString::from_vec(vec![0xff])];
        assert!(utf8(&args).unwrap_err().to_string().contains("argument 2"));
    }
}
