//! The candidates, timed one after another.

use qwen_tui::bench::Part;
use qwen_tui::error::{Context, Result};
use qwen_tui::job::human;
use serde_json::Value;
use tch::Device;

use super::candidate::Candidate;
use super::part::Role;
use super::report::{Block, Cell, Evaluation, Figures, LITERAL, Latencies, OURS, at, median};
use super::run::Setting;
use super::show;

impl Setting<'_> {
    /// The answer of a process that gives one and ends.
    pub fn once<T: serde::de::DeserializeOwned>(&self, name: &'static str, role: Role) -> Result<T> {
        let candidate = Candidate::start(name, role, &self.file, self.device)?;
        serde_json::from_value(candidate.facts.clone()).internal(name)
    }

    /// Times the candidates, one after another in every round.
    pub fn candidates(&self) -> Result<Vec<Figures>> {
        let arguments = self.arguments;
        let mut all = Vec::new();
        show::note("starting ours");
        all.push(Candidate::start(OURS, Role::Ours, &self.file, self.device)?);
        if !arguments.without.contains(&Part::Literal) {
            show::note("starting row by row");
            all.push(Candidate::start(LITERAL, Role::Literal, &self.file, self.device)?);
        }
        if let Some(python) = &arguments.peers {
            show::note("starting transformers and PEFT");
            all.push(Candidate::start_peer(python, arguments.peer_loop, &self.file, self.device)?);
        }
        let mut first = Vec::new();
        for candidate in &mut all {
            show::note(&format!("warming up: {}", candidate.name));
            first.push(candidate.ask::<Block>(&format!("steps {}", arguments.warmup))?);
        }
        let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); all.len()];
        for round in 1..=arguments.rounds {
            for (candidate, seconds) in all.iter_mut().zip(&mut rounds) {
                show::note(&format!("round {round} of {}: {}", arguments.rounds, candidate.name));
                let block: Block = candidate.ask(&format!("steps {}", arguments.steps))?;
                seconds.push(block.seconds / block.steps as f64);
            }
        }
        let mut figures = Vec::new();
        for ((mut candidate, rounds), first) in all.into_iter().zip(rounds).zip(first) {
            show::note(&format!("evaluation and labels: {}", candidate.name));
            if candidate.name != OURS {
                // Ours has evaluated once already, in the middle of the steps.
                candidate.ask::<Evaluation>("evaluate")?;
            }
            let evaluation: Evaluation = candidate.ask("evaluate")?;
            let trained = candidate.share.peak;
            let latencies: Latencies = candidate.ask("classify")?;
            let memory: Value = candidate.ask("memory")?;
            figures.push(self.figures(&candidate, rounds, first, evaluation, latencies, trained, memory));
        }
        Ok(figures)
    }

    #[expect(clippy::too_many_arguments, reason = "one answer of a candidate each")]
    fn figures(
        &self,
        candidate: &Candidate,
        rounds: Vec<f64>,
        first: Block,
        evaluation: Evaluation,
        latencies: Latencies,
        card: u64,
        memory: Value,
    ) -> Figures {
        let step_seconds = median(&rounds);
        let mut facts = candidate.facts.clone();
        if let Some(facts) = facts.as_object_mut() {
            facts.remove("ready");
            facts.insert("memory".into(), memory.clone());
        }
        let process = || memory["rss"].as_u64().or_else(|| memory["reserved"].as_u64());
        Figures {
            name: candidate.name,
            step_seconds,
            round_step_seconds: rounds,
            steps_per_second: 1.0 / step_seconds,
            rows_per_second: self.arguments.accumulation as f64 / step_seconds,
            tokens_per_second: self.tokens() / step_seconds,
            peak_memory: match self.device {
                Device::Cuda(_) if card > 0 => Some(card),
                Device::Cuda(_) => memory["reserved"].as_u64(),
                _ => process(),
            },
            eval_rows_per_second: evaluation.rows as f64 / evaluation.seconds,
            classify_p50: median(&latencies.seconds),
            classify_p99: at(&latencies.seconds, 0.99),
            first_loss: first.losses.first().copied(),
            first_grad_norm: first.grad_norms.first().copied(),
            facts,
        }
    }

    /// The cost as work grows.
    pub fn grow(&self) -> Result<Vec<Cell>> {
        let mut candidate = Candidate::start(OURS, Role::Grow, &self.file, self.device)?;
        let mut cells = Vec::new();
        while let Some(cell) = candidate.ask::<Option<Cell>>("steps 1")? {
            let rows = human::counted(cell.rows as u64, "row");
            show::note(&format!("{rows} of {} tokens: {:.3} s a step", cell.tokens, cell.median()));
            cells.push(cell);
        }
        Ok(cells)
    }
}
