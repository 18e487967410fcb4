//! The REPL server: loads a model once and answers JSON lines until its input ends. `docs/repl.md` has the protocol.

mod queue;
mod session;

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use qwen_tui::error::{Context, Error, Result};
use qwen_tui::job::repl::{Reply, Request};
use qwen_tui::stderr::warning;

use crate::words;
use queue::Queue;
use session::Server;

/// Loads what `flags` (the arguments of `infer`) name, then answers the requests of `input` on `out`.
///
/// # Errors
/// Loading fails; `out` is closed. A request that fails is answered with its error instead.
pub fn serve(flags: &[String], input: impl Read + Send + 'static, out: &mut dyn Write) -> Result<()> {
    let mut server = Server::open(flags, &mut |line| warning(line))?;
    let mut tell = |reply: &Reply| -> Result<()> {
        let mut line = serde_json::to_vec(reply).internal("writing JSON")?;
        line.push(b'\n');
        out.write_all(&line).and_then(|()| out.flush()).user("standard output")
    };
    tell(&server.ready())?;
    let queue = Queue::read(input);
    while let Some(request) = queue.next() {
        let request = match request {
            Ok(request) => request,
            Err(refusal) => {
                tell(&refusal)?;
                continue;
            }
        };
        let (id, mut closed) = (id(&request), None);
        let answer = {
            let mut stream = |piece: &str| {
                tell(&Reply::Text { id, text: piece.to_owned() }).inspect_err(|e| closed = Some(e.clone()))
            };
            let cancelled = || queue.is_cancelled(id);
            // libtorch's errors are panics; none of them leaves the server with half a model.
            catch_unwind(AssertUnwindSafe(|| server.answer(request, &cancelled, &mut stream))).unwrap_or_else(
                |e| Err(Error::internal(format!("the computation failed: {}", words::of_panic(e.as_ref())))),
            )
        };
        if let Some(e) = closed {
            return Err(e);
        }
        queue.done(id);
        tell(&answer.unwrap_or_else(|e| Reply::Error { id: Some(id), error: e.to_string() }))?;
    }
    Ok(())
}

fn id(request: &Request) -> u64 {
    match *request {
        Request::Classify { id, .. }
        | Request::Generate { id, .. }
        | Request::Open { id, .. }
        | Request::Cancel { id } => id,
    }
}
