//! The one REPL server of this cockpit: started when it is needed, asked one thing after the other.

use std::collections::VecDeque;
use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::source::Source;
use crate::error::{Error, Result};
use crate::job::repl::{Generate, Repl, Reply, Request};
use crate::tui::repl::{Ask, Loaded, Model, News, Order};

/// How long a server may take to end by itself.
pub const GRACE: Duration = Duration::from_millis(500);
/// Questions have ids below this, which are the tab's; what the keeper asks for itself has ids above.
const OWN_IDS: u64 = 1 << 32;

/// Keeps the server.
pub struct Keeper<'a> {
    tell: &'a dyn Fn(News),
    engine: &'a dyn Fn() -> Result<PathBuf>,
    server: Option<Repl>,
    doing: Doing,
    waiting: VecDeque<Waiting>,
    /// What the server answers with.
    loaded: Option<(Model, Source)>,
    /// What was chosen last; a server that has died is started with it again.
    wanted: Option<Model>,
    /// As the server names it.
    device: String,
    /// Earlier turns of the conversation, for templates that know any.
    turns: Vec<[String; 2]>,
    next_id: u64,
}

/// What the server is at.
enum Doing {
    Nothing,
    /// A new server loads its first model.
    Starting(Model, Source),
    /// It turns to another one.
    Turning(Model, Source),
    /// It answers; the prompt is kept for the conversation.
    Answering(u64, Option<String>),
}

enum Waiting {
    Open(Model),
    Ask(u64, Ask),
}

impl<'a> Keeper<'a> {
    pub fn new(engine: &'a dyn Fn() -> Result<PathBuf>, tell: &'a dyn Fn(News)) -> Keeper<'a> {
        Keeper {
            tell,
            engine,
            server: None,
            doing: Doing::Nothing,
            waiting: VecDeque::new(),
            loaded: None,
            wanted: None,
            device: String::new(),
            turns: Vec::new(),
            next_id: OWN_IDS,
        }
    }

    /// Obeys until nobody can order any more, then ends the server.
    pub async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        loop {
            while matches!(self.doing, Doing::Nothing) {
                match self.waiting.pop_front() {
                    None => break,
                    Some(Waiting::Open(model)) => self.open(model).await,
                    Some(Waiting::Ask(id, ask)) if self.server.is_some() => self.ask(id, ask).await,
                    Some(Waiting::Ask(id, ask)) => match self.wanted.clone() {
                        Some(model) => {
                            self.waiting.push_front(Waiting::Ask(id, ask));
                            self.open(model).await;
                        }
                        None => self.fail(id, "no model is chosen"),
                    },
                }
            }
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => {
                        self.obey(order).await;
                        // All that has come, so that a model that was chosen over is not loaded first.
                        while let Ok(order) = orders.try_recv() {
                            self.obey(order).await;
                        }
                    }
                    None => break,
                },
                reply = receive(&mut self.server) => self.hear(reply),
            }
        }
        self.close().await;
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Open(model) => {
                // One that nothing would be asked of is not opened.
                if matches!(self.waiting.back(), Some(Waiting::Open(_))) {
                    self.waiting.pop_back();
                }
                self.waiting.push_back(Waiting::Open(model));
            }
            Order::Ask { id, ask } => self.waiting.push_back(Waiting::Ask(id, ask)),
            Order::Cancel { id } => self.cancel(id).await,
            Order::Forget => self.turns.clear(),
            Order::Unload => {
                self.waiting.retain(|w| matches!(w, Waiting::Ask(..)));
                self.stop_answering("the model was unloaded");
                self.close().await;
                self.tell(News::Ended { why: None });
            }
            // Not the server's.
            Order::Remember(_) | Order::List(_) => {}
        }
    }

    async fn cancel(&mut self, id: u64) {
        let place = self.waiting.iter().position(|w| matches!(w, Waiting::Ask(of, _) if *of == id));
        if let Some(place) = place {
            self.waiting.remove(place);
            self.fail(id, "cancelled");
        } else if matches!(self.doing, Doing::Answering(of, _) if of == id) {
            self.send(&Request::Cancel { id }).await;
        }
    }

    /// Turns the server to `model`, or starts one with it.
    async fn open(&mut self, model: Model) {
        self.tell(News::Loading(model.clone()));
        let source = match Source::of(&model) {
            Ok(source) => source,
            Err(e) => return self.refuse(model, &e),
        };
        self.wanted = Some(model.clone());
        let fits = self.loaded.as_ref().is_some_and(|(_, now)| source.fits(now.template.as_ref()));
        if self.server.is_some() && fits {
            self.next_id += 1;
            let request = Request::Open { id: self.next_id, what: source.open.clone() };
            self.doing = Doing::Turning(model, source);
            return self.send(&request).await;
        }
        self.close().await;
        match (self.engine)().and_then(|engine| Repl::spawn_engine(&engine, &source.flags)) {
            Ok(server) => {
                self.server = Some(server);
                self.doing = Doing::Starting(model, source);
            }
            Err(e) => self.refuse(model, &e),
        }
    }

    async fn ask(&mut self, id: u64, ask: Ask) {
        if let Some((model, source)) = &self.loaded
            && source.is_gone()
        {
            self.tell(News::Gone(model.clone()));
        }
        self.tell(News::Begun { id });
        let (request, prompt) = match ask {
            Ask::Classify(text) => (Request::Classify { id, text }, None),
            Ask::Generate(prompt) => {
                let source = self.loaded.as_ref().map(|(_, source)| source);
                let mut how = source.map_or_else(Generate::default, |source| source.how.clone());
                if source.is_some_and(Source::converses) {
                    how.history.clone_from(&self.turns);
                }
                how.prompt.clone_from(&prompt);
                (Request::Generate { id, how }, Some(prompt))
            }
        };
        self.doing = Doing::Answering(id, prompt);
        self.send(&request).await;
    }

    async fn send(&mut self, request: &Request) {
        if let Some(server) = &mut self.server
            && let Err(e) = server.send(request).await
        {
            self.ended(&e);
        }
    }

    fn hear(&mut self, reply: Result<Reply>) {
        let reply = match reply {
            Ok(reply) => reply,
            Err(e) => return self.ended(&e),
        };
        self.doing = match (std::mem::replace(&mut self.doing, Doing::Nothing), reply) {
            (Doing::Starting(model, source), Reply::Ready { device, seconds, .. }) => {
                self.device = device;
                self.loaded(model, source, seconds, Vec::new())
            }
            (Doing::Turning(model, source), Reply::Opened { id, seconds, warnings, .. })
                if id == self.next_id =>
            {
                self.loaded(model, source, seconds, warnings)
            }
            (Doing::Turning(model, _), Reply::Error { id: Some(id), error }) if id == self.next_id => {
                self.wanted = self.loaded.as_ref().map(|(model, _)| model.clone());
                self.tell(News::Refused { model, why: error });
                Doing::Nothing
            }
            (Doing::Answering(id, prompt), reply) => self.answer(id, prompt, reply),
            // Of what was given up.
            (doing, _) => doing,
        };
    }

    /// Passes on what belongs to the question at hand.
    fn answer(&mut self, id: u64, prompt: Option<String>, reply: Reply) -> Doing {
        match reply {
            Reply::Text { id: of, text } if of == id => {
                self.tell(News::Piece { id, text });
                return Doing::Answering(id, prompt);
            }
            Reply::Label { id: of, label, probabilities, seconds } if of == id => {
                self.tell(News::Label { id, label, probabilities, seconds });
            }
            Reply::Done { id: of, text, cancelled, seconds, .. } if of == id => {
                // What was cut off would have the model go on as if it had wanted to end there.
                if let Some(prompt) = prompt.filter(|_| !cancelled) {
                    self.turns.push([prompt, text.clone()]);
                }
                self.tell(News::Done { id, text, cancelled, seconds });
            }
            Reply::Error { id: Some(of), error } if of == id => self.fail(id, &error),
            _ => return Doing::Answering(id, prompt),
        }
        Doing::Nothing
    }

    fn loaded(&mut self, model: Model, source: Source, seconds: f64, warnings: Vec<String>) -> Doing {
        // What one model has said is not put into another one's mouth.
        if self.loaded.as_ref().is_none_or(|(before, _)| *before != model) {
            self.turns.clear();
        }
        let drawing = source.drawing();
        self.loaded = Some((model.clone(), source));
        self.tell(News::Loaded(Loaded { model, device: self.device.clone(), seconds, drawing, warnings }));
        Doing::Nothing
    }

    /// The server has gone by itself.
    fn ended(&mut self, why: &Error) {
        self.server = None;
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Starting(model, _) => self.refuse(model, why),
            Doing::Answering(id, _) => {
                self.fail(id, "the engine ended");
                self.gone(why);
            }
            Doing::Turning(..) | Doing::Nothing => self.gone(why),
        }
    }

    fn gone(&mut self, why: &Error) {
        self.loaded = None;
        self.turns.clear();
        self.stop_answering("the engine ended");
        self.tell(News::Ended { why: Some(why.to_string()) });
    }

    /// A model cannot be had. Without a server nothing answers what was asked for it.
    fn refuse(&mut self, model: Model, why: &Error) {
        let mut why = why.to_string();
        if why.contains("model_id_or_path") && matches!(model, Model::Checkpoint(_) | Model::At(_)) {
            why += "\nHere: open the base model's directory first, then the checkpoint over it.";
        }
        if self.server.is_none() {
            self.loaded = None;
            self.stop_answering("there is no model to answer");
        }
        self.tell(News::Refused { model, why });
    }

    /// Gives up the question at hand, and what waits up to the next model.
    fn stop_answering(&mut self, why: &str) {
        if let Doing::Answering(id, _) = self.doing {
            self.doing = Doing::Nothing;
            self.fail(id, why);
        }
        while let Some(Waiting::Ask(id, _)) = self.waiting.front() {
            let id = *id;
            self.waiting.pop_front();
            self.fail(id, why);
        }
    }

    async fn close(&mut self) {
        self.doing = Doing::Nothing;
        self.loaded = None;
        if let Some(server) = self.server.take() {
            server.close(GRACE).await;
        }
    }

    fn fail(&self, id: u64, why: &str) {
        self.tell(News::Failed { id, why: why.to_owned() });
    }

    fn tell(&self, news: News) {
        (self.tell)(news);
    }
}

/// The server's next reply; waits for ever where there is none.
async fn receive(server: &mut Option<Repl>) -> Result<Reply> {
    match server {
        Some(server) => server.receive().await,
        None => pending().await,
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
