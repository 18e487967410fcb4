//! The course of a benchmark.

use std::path::{Path, PathBuf};

use qwen_tui::bench::{BenchArguments, Part};
use qwen_tui::error::{Context, Result};
use tch::Device;

use super::candidate::check_python;
use super::floor::Operations;
use super::job::{Job, JobRow};
use super::part::Role;
use super::report::{Floor, Loading, Machine, Report, Speed, Task};
use super::work::Work;
use super::{show, stop};
use crate::device;
use crate::model::QwenConfig;

/// Runs the benchmark and prints what it found.
///
/// # Errors
/// Arguments, model or rows that are none; a candidate that ends early.
pub fn run(arguments: &BenchArguments) -> Result<()> {
    stop::listen()?;
    let work = Work::new()?;
    let done = measure(arguments, &work);
    drop(work);
    if let Some(status) = stop::status() {
        std::process::exit(status);
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
pub struct Setting<'a> {
    pub arguments: &'a BenchArguments,
    job: Job,
    /// Where the job stands.
    pub file: PathBuf,
    pub device: Device,
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
    /// Steps that are timed.
    fn timed(&self) -> &[Vec<JobRow>] {
        &self.job.steps[self.job.warmup.min(self.job.steps.len())..]
    }

    /// Tokens of a timed step, on average.
    pub fn tokens(&self) -> f64 {
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
