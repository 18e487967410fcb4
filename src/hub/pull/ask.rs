//! What each of several hubs says to have: one that is silent costs the next one no time.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::hub::Repo;
use crate::hub::client::fault::Fault;
use crate::hub::client::{Client, Listing, Network, Notes, host, offline, server};

/// How long a hub is asked alone and without a word. Then the others are asked as well, though what it says counts first
/// all the same.
const ALONE: Duration = Duration::from_secs(2);

/// What a hub has, and whom to ask for it.
type Said = Result<(Arc<Client>, Listing), Fault>;

/// How far the question to a hub is.
enum Question {
    NotAsked,
    Open(Pin<Box<dyn Future<Output = Said>>>),
    Answered(Said),
}

/// Hubs that are asked, in an order.
pub struct Ask<'a> {
    repos: &'a [Repo],
    network: &'a Network,
    questions: Vec<Question>,
    /// Since when somebody waits for a first answer.
    began: Option<Instant>,
    /// How many of the hubs it was told of that they are waited for.
    told: usize,
    /// Those that are asked again, with all the time that they want.
    patient: Vec<bool>,
    /// What happens meanwhile.
    pub notes: Notes,
}

impl<'a> Ask<'a> {
    pub fn new(repos: &'a [Repo], network: &'a Network) -> Self {
        let questions = repos.iter().map(|_| Question::NotAsked).collect();
        Self {
            repos,
            network,
            questions,
            began: None,
            told: 0,
            patient: vec![false; repos.len()],
            notes: Notes::default(),
        }
    }

    /// What the hub `at` this place of the order says.
    pub async fn of(&mut self, at: usize) -> Said {
        self.begin(at);
        if self.patient[at] {
            return self.answer(at).await;
        }
        let said = match timeout(ALONE, self.answer(at)).await {
            Ok(said) => said,
            Err(_) => {
                (at..self.repos.len()).for_each(|next| self.begin(next));
                self.tell(at);
                self.answer(at).await
            }
        };
        if said.is_ok() {
            // Whoever is asked after this has the whole time again.
            self.began = None;
        }
        said
    }

    /// That the hub `at` this place, which had no time to wait for, is the only one left: it has all the time it wants.
    pub fn be_patient(&mut self, at: usize) {
        self.patient[at] = true;
        self.began = None;
    }

    /// Whether the hub `at` this place is asked already, beside another.
    pub fn is_asked(&self, at: usize) -> bool {
        !matches!(self.questions[at], Question::NotAsked)
    }

    /// Tells which hubs are waited for, where it is not told yet.
    fn tell(&mut self, at: usize) {
        let waits = self.notes.waits();
        // One that has asked for a wait has been told of.
        let is_waited_for = |repo: &&Repo| waits.iter().any(|wait| wait.about == repo.hub.to_string());
        let asked: Vec<String> = self.repos[at.max(self.told)..]
            .iter()
            .filter(|repo| !is_waited_for(repo))
            .filter(|repo| offline(repo.hub).is_none())
            .filter_map(|repo| {
                Some(format!("{} ({})", repo.hub, host(&server(repo.hub, self.network).ok()?.0)))
            })
            .collect();
        self.told = self.repos.len();
        match &asked[..] {
            [] => {}
            [one] => self.notes.say(format!("asking {one} what it has…")),
            more => self.notes.say(format!("asking {} what they have…", more.join(" and "))),
        }
    }

    fn begin(&mut self, at: usize) {
        if matches!(self.questions[at], Question::NotAsked) {
            let began = match self.patient[at] {
                // What the others took meanwhile is none of its time.
                true => Instant::now(),
                false => *self.began.get_or_insert_with(Instant::now),
            };
            let (repo, network, notes) = (self.repos[at].clone(), self.network.clone(), self.notes.clone());
            let is_hasty = at + 1 < self.repos.len() && !self.patient[at];
            self.questions[at] = Question::Open(Box::pin(async move {
                let mut client = Client::new(&repo, &network, began, &notes)?;
                client.is_hasty = is_hasty;
                let listing = client.list().await?;
                Ok((Arc::new(client), listing))
            }));
        }
    }

    /// Waits for one answer, and meanwhile for the others.
    fn answer(&mut self, at: usize) -> impl Future<Output = Said> {
        poll_fn(move |context| {
            for question in &mut self.questions {
                if let Question::Open(open) = question
                    && let Poll::Ready(said) = open.as_mut().poll(context)
                {
                    *question = Question::Answered(said);
                }
            }
            match std::mem::replace(&mut self.questions[at], Question::NotAsked) {
                Question::Answered(said) => Poll::Ready(said),
                open => {
                    self.questions[at] = open;
                    Poll::Pending
                }
            }
        })
    }
}
