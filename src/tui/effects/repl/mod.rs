//! The engine's REPL server, kept on a thread of its own; and what else the REPL tab needs of the world.

mod history;
mod keeper;
mod models;
mod source;

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::Sender;
use crate::job::find_engine;
use crate::tui::action::Notice;
use crate::tui::message::Message;
use crate::tui::repl::{News, Order};
use keeper::{GRACE, Keeper};

pub use models::list;

/// The keeper's thread; it ends, and the server with it, when this is dropped.
#[derive(Default)]
pub struct Thread {
    running: Option<(UnboundedSender<Order>, mpsc::Receiver<()>)>,
}

impl Thread {
    /// Passes an order on; `engine` is the one that has been found, if it has been looked for.
    pub fn order(&mut self, order: Order, engine: Option<&PathBuf>, sender: &Sender) {
        if self.running.as_ref().is_none_or(|(orders, _)| orders.is_closed()) {
            match start(engine.cloned(), sender.clone()) {
                Ok(running) => self.running = Some(running),
                Err(e) => {
                    let notice = Notice::error(format!("cannot start a thread: {e}"));
                    let _ = sender.send(Message::Notice(notice));
                }
            }
        }
        if let Some((orders, _)) = &self.running {
            let _ = orders.send(order);
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some((orders, done)) = self.running.take() {
            drop(orders);
            // The server gets its grace, but a thread that hangs on a disk keeps nobody here.
            let _ = done.recv_timeout(GRACE + Duration::from_secs(1));
        }
    }
}

fn start(
    engine: Option<PathBuf>,
    sender: Sender,
) -> std::io::Result<(UnboundedSender<Order>, mpsc::Receiver<()>)> {
    let (orders, mut heard) = unbounded_channel();
    // Never sent on: that it is closed says that the thread has ended.
    let (ended, done) = mpsc::channel::<()>();
    let keep = move || {
        let _ended = ended;
        let tell = |news| drop(sender.send(Message::Repl(news)));
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(e) => {
                let notice = Notice::error(format!("cannot start the REPL: {e}"));
                return drop(sender.send(Message::Notice(notice)));
            }
        };
        let (pass_on, passed) = unbounded_channel();
        let sort = async move {
            while let Some(order) = heard.recv().await {
                match order {
                    Order::Remember(text) => remember(&text),
                    order => drop(pass_on.send(order)),
                }
            }
        };
        let find = || engine.clone().map_or_else(find_engine, Ok);
        runtime.block_on(async { tokio::join!(sort, Keeper::new(&find, &tell).run(passed)) });
    };
    std::thread::Builder::new().name("repl".to_owned()).spawn(keep)?;
    Ok((orders, done))
}

/// A history that cannot be written is not worth a word on the screen.
fn remember(text: &str) {
    if let Some(path) = history::path()
        && let Err(e) = history::append(&path, text)
    {
        tracing::warn!("{}: {e}", path.display());
    }
}

/// The texts of earlier sessions.
pub fn remembered() -> News {
    News::History(history::path().map(|path| history::load(&path)).unwrap_or_default())
}
