//! Requests as they come in, read beside the computation so that a cancel is heard during an answer.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use qwen_tui::job::frames::Frames;
use qwen_tui::job::repl::{LINE_LIMIT, Reply, Request};

/// Requests read ahead of the one being answered; the pipe holds the rest.
const AHEAD: usize = 64;

/// Whether each request that is not done yet has been cancelled.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<HashMap<u64, bool>>>);

impl Open {
    fn map(&self) -> MutexGuard<'_, HashMap<u64, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The requests of an input, in order; cancels are obeyed at once and never come out.
pub struct Queue {
    requests: mpsc::Receiver<Result<Request, Reply>>,
    open: Open,
}

impl Queue {
    /// Reads `input` in a thread until its end.
    pub fn read(input: impl Read + Send + 'static) -> Self {
        let (send, requests) = mpsc::sync_channel(AHEAD);
        let open = Open::default();
        let heard = open.clone();
        std::thread::spawn(move || listen(input, &heard, &send));
        Self { requests, open }
    }

    /// The next request, or the reply that refuses a line; none when the input has ended.
    pub fn next(&self) -> Option<Result<Request, Reply>> {
        self.requests.recv().ok()
    }

    pub fn is_cancelled(&self, id: u64) -> bool {
        self.open.map().get(&id).copied().unwrap_or(false)
    }

    /// The request has been answered; its id may be used again.
    pub fn done(&self, id: u64) {
        self.open.map().remove(&id);
    }
}

fn listen(mut input: impl Read, open: &Open, send: &mpsc::SyncSender<Result<Request, Reply>>) {
    let mut frames = Frames::new(LINE_LIMIT);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = match input.read(&mut buffer) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            read => read.unwrap_or(0),
        };
        let mut lines = frames.push(&buffer[..n]);
        if n == 0 {
            lines.extend(frames.finish().map(Ok));
        }
        for line in lines {
            let Some(next) = sort(line.ok().as_deref(), open) else { continue };
            if send.send(next).is_err() {
                return;
            }
        }
        if n == 0 {
            return;
        }
    }
}

/// What a line asks for; none where it was a cancel. No line: it was too long.
fn sort(line: Option<&[u8]>, open: &Open) -> Option<Result<Request, Reply>> {
    let Some(line) = line else {
        return Some(Err(refuse(None, format!("a line of more than {LINE_LIMIT} bytes is not read"))));
    };
    let request = match Request::parse(line) {
        Ok(request) => request,
        Err(refusal) => return Some(Err(refusal)),
    };
    if let Request::Cancel { id } = request {
        if let Some(cancelled) = open.map().get_mut(&id) {
            *cancelled = true;
        }
        return None;
    }
    let id = super::id(&request);
    if open.map().contains_key(&id) {
        return Some(Err(refuse(Some(id), format!("id {id} is in use until it is answered; take another"))));
    }
    open.map().insert(id, false);
    Some(Ok(request))
}

fn refuse(id: Option<u64>, error: String) -> Reply {
    Reply::Error { id, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_overtakes_and_an_id_is_used_once_at_a_time() {
        let lines = "{\"id\":1,\"classify\":\"a\"}\n{\"id\":2,\"classify\":\"b\"}\n{\"cancel\":2}\n{\"cancel\":9}\n\
                     {\"id\":1,\"classify\":\"c\"}\nnonsense\n{\"id\":3,\"open\":{\"base\":null}}";
        let queue = Queue::read(std::io::Cursor::new(lines));
        let all: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(all.len(), 5);
        assert!(queue.is_cancelled(2) && !queue.is_cancelled(1) && !queue.is_cancelled(9));
        assert!(matches!(&all[2], Err(Reply::Error { id: Some(1), error }) if error.contains("in use")));
        assert!(matches!(&all[3], Err(Reply::Error { id: None, .. })));
        assert!(matches!(&all[4], Ok(Request::Open { id: 3, .. })));
        queue.done(2);
        assert!(!queue.is_cancelled(2));
    }
}
