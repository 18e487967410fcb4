//! The queue: changes to it, and a look at it now and then.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::job::queue::{Listing, Queue};
use crate::tui::action::{Notice, QueueWork};
use crate::tui::configs::ConfigNews;
use crate::tui::message::Message;

/// How often the queue is looked at.
const POLL: Duration = Duration::from_secs(1);
/// Where a runner does not stay, the next one is not started sooner.
const WAKE_AGAIN: Duration = Duration::from_secs(30);

/// What was told of the queue last. Held while it is looked at, so that no look is older than the one before.
pub type Told = Mutex<Option<Listing>>;

/// Changes the queue, and tells how it is then.
pub fn work(work: QueueWork, told: &Told, send: &dyn Fn(Message)) {
    let done = change(work, send);
    look(told, send);
    if let Err(e) = done {
        send(Message::Notice(Notice::error(e.to_string())));
    }
}

fn change(work: QueueWork, send: &dyn Fn(Message)) -> Result<()> {
    let queue = Queue::of_user()?;
    let say = |text: String| send(Message::Notice(Notice::info(text)));
    match work {
        QueueWork::Put(args) => {
            let (added, notes) = queue.put(*args)?;
            send(Message::Config(ConfigNews::Queued));
            let notes: String = notes.iter().map(|note| format!("; {note}")).collect();
            let (number, place) = (added.number, added.place);
            say(format!("job {number} is in the queue, at place {place}: Q or F7 shows it{notes}"));
        }
        QueueWork::Move { job, to } => drop(queue.shift(job, to).map(|_| ())?),
        QueueWork::Remove(job) => {
            queue.remove(job)?;
            say(format!("job {job} is out of the queue"));
        }
        QueueWork::Retry(job) => {
            let place = queue.retry(job)?;
            say(format!("job {job} waits again, at place {place}"));
        }
        QueueWork::Pause(paused) => queue.set_paused(paused)?,
    }
    queue.wake()
}

/// Tells how the queue is, where that is not what was told last.
fn look(told: &Told, send: &dyn Fn(Message)) {
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    // A home that is not there, a folder that cannot be read: what is done with the queue says so.
    let Ok(now) = Queue::of_user().and_then(|queue| queue.list()) else { return };
    if told.as_ref() != Some(&now) {
        *told = Some(now.clone());
        send(Message::Queue(now));
    }
}

/// Looks at the queue for as long as it is `wanted`, and starts a runner where one is needed.
pub fn watch(told: &Told, wanted: &dyn Fn() -> bool, send: &dyn Fn(Message)) {
    let mut woken: Option<Instant> = None;
    while wanted() {
        look(told, send);
        if woken.is_none_or(|since| since.elapsed() > WAKE_AGAIN)
            && let Ok(queue) = Queue::of_user()
            && queue.list().is_ok_and(|listing| listing.has_work())
            && !queue.has_runner()
        {
            woken = Some(Instant::now());
            if let Err(e) = queue.wake() {
                send(Message::Notice(Notice::error(e.to_string())));
            }
        }
        std::thread::sleep(POLL);
    }
}
