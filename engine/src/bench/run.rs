//! The course of a benchmark.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use qwen_tui::bench::{BenchArguments, Part};
use qwen_tui::error::{Context, Result};
use qwen_tui::job::human;
use serde_json::Value;
use tch::Device;

use super::candidate::{Candidate, check_python};
use super::floor::Operations;
use super::job::Job;
use super::part::Role;
use super::report::{
    Apart, Block, Cell, Evaluation, Figures, Floor, Latencies, Loading, Machine, Report, Speed, Task, at,
    median,
};
use super::show;
use super::work::Work;
use crate::device;
use crate::infer::interrupt::INTERRUPTED;
use crate::model::QwenConfig;

/// Names of our two candidates.
pub const OURS: &str = "ours";
pub const LITERAL: &str = "row by row";

/// Whether SIGINT has come: the candidates get it too, and end.
static STOPPED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_interrupt(_: libc::c_int) {
    STOPPED.store(true, Ordering::SeqCst);
}

/// Runs the benchmark and prints what it found.
///
/// # Errors
/// Arguments, model or rows that are none; a candidate that ends early.
pub fn run(arguments: &BenchArguments) -> Result<()> {
    let handler = note_interrupt as extern "C" fn(libc::c_int);
    // SAFETY: the handler does no more than store to an atomic, which is async-signal-safe.
    unsafe { libc::signal(libc::SIGINT, handler as libc::sighandler_t) };
    let work = Work::new()?;
    let done = measure(arguments, &work);
    drop(work);
    if STOPPED.load(Ordering::SeqCst) {
        std::process::exit(INTERRUPTED);
    }
    if let Some(report) = done? {
        let text = if arguments.json {
            serde_json::to_string_pretty(&report).internal("the report")?
        } else {
            show::text(&report)
        };
        show::print(&text)?;
    }
    Ok(())
}

/// What there is to know before anything is timed.
struct Setting<'a> {
    arguments: &'a BenchArguments,
    job: Job,
    /// Where the job stands.
    file: PathBuf,
    device: Device,
}

fn measure(arguments: &BenchArguments, work: &Work) -> Result<Option<Report>> {
    let device = device::choose(&arguments.device)?;
    let kind = device::kind(&arguments.dtype, device).map_err(|e| e.context("--dtype"))?;
    let dtype = device::dtype_name(kind);
    arguments.peers.as_deref().map_or(Ok(()), check_python)?;
    let threads = arguments.threads.unwrap_or_else(|| tch::get_num_threads().max(1) as usize);
    show::note("making the model and the rows");
    let load_average = load_average();
    let shape = arguments.shape(device != Device::Cpu).name();
    let model = work.model(arguments, &shape, dtype)?;
    let rows = work.rows(arguments, &model)?;
    let device_name = device::label(device);
    let job = Job::new(arguments, work.dir(), &model, [&rows[0], &rows[1]], [&device_name, dtype], threads)?;
    let file = arguments.job.clone().unwrap_or_else(|| work.path("job.json"));
    let text = serde_json::to_string(&job).internal("the job")?;
    std::fs::write(&file, text).user(file.display())?;
    if arguments.job.is_some() {
        return Ok(None);
    }
    let setting = Setting { arguments, job, file, device };
    let mut report = setting.report(&model, shape, load_average)?;
    if arguments.grow {
        report.grow = setting.grow()?;
        return Ok(Some(report));
    }
    if !arguments.without.contains(&Part::Load) {
        show::note("loading the weights");
        let loading: Loading = setting.once("loading", Role::Load)?;
        report.load_bytes_per_second = Some(loading.bytes_per_second());
        report.load = Some(loading);
    }
    let speed = match arguments.without.contains(&Part::Floor) {
        true => None,
        false => {
            show::note("timing matrix products");
            Some(setting.once::<Speed>("the floor", Role::Floor)?)
        }
    };
    report.candidates = setting.candidates()?;
    report.compare(speed.map(|speed| setting.floor(speed)));
    Ok(Some(report))
}

fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

impl Setting<'_> {
    /// The answer of a process that gives one and ends.
    fn once<T: serde::de::DeserializeOwned>(&self, name: &'static str, role: Role) -> Result<T> {
        let candidate = Candidate::start(name, role, &self.file, self.device)?;
        serde_json::from_value(candidate.facts.clone()).internal(name)
    }

    /// Times the candidates, one after another in every round.
    fn candidates(&self) -> Result<Vec<Figures>> {
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

    /// Steps that are timed.
    fn timed(&self) -> &[Vec<super::job::JobRow>] {
        &self.job.steps[self.job.warmup.min(self.job.steps.len())..]
    }

    /// Tokens of a timed step, on average.
    fn tokens(&self) -> f64 {
        let all: usize = self.timed().iter().flatten().map(|row| row.ids.len()).sum();
        all as f64 / self.timed().len().max(1) as f64
    }

    fn floor(&self, speed: Speed) -> Floor {
        let steps = self.timed();
        let all: Vec<_> = steps.concat();
        let sum = Operations::of(&self.job.model, self.job.lora_rank, &all);
        let operations = sum.over(steps.len().max(1) as f64);
        let seconds = operations.total() / speed.rate;
        Floor {
            operations,
            total_operations: operations.total(),
            side: speed.side,
            rate: speed.rate,
            seconds,
            products_seconds: speed.products_seconds,
            ours_over_seconds: f64::NAN,
            ours_over_products: f64::NAN,
        }
    }

    /// The cost as work grows.
    fn grow(&self) -> Result<Vec<Cell>> {
        let mut candidate = Candidate::start(OURS, Role::Grow, &self.file, self.device)?;
        let mut cells = Vec::new();
        while let Some(cell) = candidate.ask::<Option<Cell>>("steps 1")? {
            let rows = human::counted(cell.rows as u64, "row");
            show::note(&format!("{rows} of {} tokens: {:.3} s a step", cell.tokens, cell.median()));
            cells.push(cell);
        }
        Ok(cells)
    }

    /// A report without figures.
    fn report(&self, model: &Path, shape: String, load_average: Option<f64>) -> Result<Report> {
        let config = QwenConfig::load(model)?;
        let (arguments, sizes) = (self.arguments, &self.job.model);
        let shape = match &arguments.model {
            Some(dir) => dir.display().to_string(),
            None => shape,
        };
        let rows = match &arguments.rows_file {
            Some(file) => file.display().to_string(),
            None => format!(
                "random Chinese characters in the task's prompt, {} to {} tokens, evenly spread",
                arguments.lengths.from, arguments.lengths.to
            ),
        };
        Ok(Report {
            machine: Machine {
                device: device::label(self.device),
                device_name: device::name(self.device),
                processor: device::name(Device::Cpu),
                cores: std::thread::available_parallelism().map_or(0, usize::from),
                threads: self.job.threads,
                libtorch: device::libtorch(),
                load_average,
            },
            task: Task {
                shape,
                layers: sizes.layers,
                hidden: sizes.hidden,
                heads: sizes.heads,
                mlp: sizes.mlp,
                vocab: sizes.vocab,
                parameters: config.tensors().iter().map(|(_, size)| size.iter().product::<i64>()).sum(),
                dtype: self.job.dtype.clone(),
                rows,
                rows_a_step: arguments.accumulation,
                tokens_a_step: self.tokens(),
                rounds: arguments.rounds,
                steps_a_round: arguments.steps,
            },
            candidates: Vec::new(),
            apart: None,
            times_faster: Vec::new(),
            load: None,
            load_bytes_per_second: None,
            floor: None,
            grow: Vec::new(),
        })
    }
}

impl Report {
    /// Sets the candidates beside each other and beside the floor.
    fn compare(&mut self, floor: Option<Floor>) {
        let of = |name: &str| self.candidates.iter().find(|c| c.name == name);
        let Some(ours) = of(OURS) else { return };
        let relative = |a: Option<f64>, b: Option<f64>| Some((a? - b?).abs() / b?.abs());
        self.apart = of(LITERAL).and_then(|literal| {
            Some(Apart {
                loss: relative(ours.first_loss, literal.first_loss)?,
                grad_norm: relative(ours.first_grad_norm, literal.first_grad_norm)?,
            })
        });
        let others = self.candidates.iter().filter(|c| c.name != OURS);
        self.times_faster = others.map(|c| (c.name, c.step_seconds / ours.step_seconds)).collect();
        self.floor = floor.map(|floor| Floor {
            ours_over_seconds: ours.step_seconds / floor.seconds,
            ours_over_products: ours.step_seconds / floor.products_seconds,
            ..floor
        });
    }
}
