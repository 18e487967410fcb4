//! A small Qwen-1 on disk, rows for it, and the built `qwen-tui` run on them.
#![allow(dead_code, unused_imports)]

mod disk;
mod shared;

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use rand_mt::Mt;
use rustix::process::{Pid, Signal};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

pub use disk::Disk;
pub use shared::shared;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_qwen-tui");

/// No command of these tests may take longer: it hangs. On a disk that others keep busy a run of 30 saves has taken two
/// minutes.
const LIMIT: Duration = Duration::from_secs(400);

/// From here on what is started hears SIGHUP, also where the tests themselves run under `nohup`, which has it ignored.
pub fn hear_hang_up() {
    // SAFETY: no handler is given, and the tests have none of their own.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_DFL) };
}

/// The folders of a bench that stand for the hubs' caches.
const HUBS: [(&str, &str); 4] = [
    ("MODELSCOPE_CACHE", "modelscope"),
    ("HF_HOME", "huggingface"),
    ("MS_DATASETS_CACHE", "loaded"),
    ("XDG_CACHE_HOME", "cache"),
];
/// Servers that nobody listens at.
const SERVERS: [(&str, &str); 2] =
    [("MODELSCOPE_DOMAIN", "http://127.0.0.1:9"), ("HF_ENDPOINT", "http://127.0.0.1:9")];

pub const HIDDEN: usize = 16;
/// Each MLP matrix has half of it.
pub const INTERMEDIATE: usize = 48;
pub const VOCAB: usize = 512;

/// Tensors in fp32 by name: shape and values.
pub type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

/// Writes a safetensors file.
pub fn write_tensors(path: &Path, tensors: &Tensors) {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(.., v)| v.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(metadata), path).unwrap();
}

/// A tensor of uniform numbers around `mean`.
pub fn random(
    name: &str,
    shape: &[usize],
    mean: f32,
    spread: f32,
    mt: &mut Mt,
) -> (String, Vec<usize>, Vec<f32>) {
    let count = shape.iter().product();
    let values = (0..count).map(|_| mean + spread * (mt.next_u32() as f32 / u32::MAX as f32 - 0.5)).collect();
    (name.to_owned(), shape.to_vec(), values)
}

/// The weights of the small model, one layer.
pub fn weights() -> Tensors {
    let mut mt = Mt::new(7);
    let (h, f) = (HIDDEN, INTERMEDIATE / 2);
    let mut put = |name: &str, shape: &[usize], mean: f32| random(name, shape, mean, 0.5, &mut mt);
    vec![
        put("transformer.wte.weight", &[VOCAB, h], 0.0),
        put("transformer.h.0.ln_1.weight", &[h], 1.0),
        put("transformer.h.0.attn.c_attn.weight", &[3 * h, h], 0.0),
        put("transformer.h.0.attn.c_attn.bias", &[3 * h], 0.0),
        put("transformer.h.0.attn.c_proj.weight", &[h, h], 0.0),
        put("transformer.h.0.ln_2.weight", &[h], 1.0),
        put("transformer.h.0.mlp.w1.weight", &[f, h], 0.0),
        put("transformer.h.0.mlp.w2.weight", &[f, h], 0.0),
        put("transformer.h.0.mlp.c_proj.weight", &[h, f], 0.0),
        put("transformer.ln_f.weight", &[h], 1.0),
        put("lm_head.weight", &[VOCAB, h], 0.0),
    ]
}

pub fn config() -> Value {
    json!({
        "model_type": "qwen", "hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 2,
        "kv_channels": HIDDEN / 2, "intermediate_size": INTERMEDIATE, "vocab_size": VOCAB, "seq_length": 1024,
        "layer_norm_epsilon": 1e-6, "rotary_emb_base": 10000, "rotary_pct": 1.0, "use_dynamic_ntk": true,
        "use_logn_attn": true, "no_bias": true, "scale_attn_weights": true, "attn_dropout_prob": 0.0,
        "emb_dropout_prob": 0.0, "tie_word_embeddings": false,
    })
}

/// The lines of a `qwen.tiktoken` of the 256 bytes; 208 special tokens follow them.
pub fn vocabulary() -> Vec<String> {
    (0..=255u8).map(|b| format!("{} {b}", STANDARD.encode([b]))).collect()
}

/// Praise and complaint in turn.
pub fn rows(count: usize) -> Vec<Value> {
    (0..count)
        .map(|n| {
            let text = if n % 2 == 0 { "质量太差，后悔买了" } else { "很好用，推荐" };
            json!({"sentence": format!("{text}{n}"), "label": (n % 2) as f64, "dataset": "jd"})
        })
        .collect()
}

pub fn write_rows(path: &Path, rows: &[Value]) {
    fs::write(path, rows.iter().map(|r| format!("{r}\n")).collect::<String>()).unwrap();
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub command: String,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub seconds: f64,
}

/// A folder with a small model, `model`, and 40 rows, `rows.jsonl`.
pub struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let beside = Path::new(PROGRAM).with_file_name("qwen-tui-engine");
        assert!(beside.is_file(), "{} is not there: run `make build` before these tests", beside.display());
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        let model = bench.path("model");
        fs::create_dir(&model).unwrap();
        write_tensors(&model.join("model.safetensors"), &weights());
        fs::write(model.join("config.json"), config().to_string()).unwrap();
        fs::write(model.join("qwen.tiktoken"), vocabulary().join("\n") + "\n").unwrap();
        write_rows(&bench.path("rows.jsonl"), &rows(40));
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }

    /// A run on the model and the rows, into `out`; `more` comes last and so wins.
    pub fn sft_words(&self, more: &[&str]) -> Vec<String> {
        let mut words: Vec<String> =
            ["sft", "--model_type", "qwen-1_8b", "--device", "cpu", "--threads", "1"]
                .map(str::to_owned)
                .into();
        for (flag, name) in [
            ("--model_id_or_path", "model"),
            ("--custom_train_dataset_path", "rows.jsonl"),
            ("--output_dir", "out"),
        ] {
            words.extend([flag.to_owned(), self.path(name).display().to_string()]);
        }
        words.extend(more.iter().map(|w| w.to_string()));
        words
    }

    pub fn sft(&self, more: &[&str]) -> Ended {
        self.run(&self.sft_words(more), "")
    }

    /// Starts a command in this folder; what it prints goes to files.
    pub fn start(&self, words: &[String], input: &str) -> Started {
        self.start_with(words, input, &[])
    }

    /// [`start`](Self::start) with more in its environment.
    pub fn start_with(&self, words: &[String], input: &str, environment: &[(&str, &str)]) -> Started {
        let mut program = Command::new(PROGRAM);
        program.args(words);
        self.spawn(program, words.join(" "), input, environment)
    }

    /// Runs a line as a shell does into which it is pasted, where the built `qwen-tui` is found.
    pub fn shell(&self, line: &str) -> Ended {
        let mut shell = Command::new("sh");
        let built = Path::new(PROGRAM).parent().unwrap().display().to_string();
        let path = format!("{built}:{}", std::env::var("PATH").unwrap_or_default());
        shell.args(["-c", line]).env("PATH", path);
        self.spawn(shell, line.to_owned(), "", &[]).wait()
    }

    fn spawn(
        &self,
        mut program: Command,
        command: String,
        input: &str,
        environment: &[(&str, &str)],
    ) -> Started {
        let io = tempfile::tempdir_in(self.dir.path()).unwrap();
        fs::write(io.path().join("in"), input).unwrap();
        let create = |name: &str| File::create(io.path().join(name)).unwrap();
        let child = program
            .current_dir(self.dir.path())
            .env_remove("QWEN_TUI_ENGINE")
            // Where running jobs are registered, and others' would be found.
            .env("XDG_STATE_HOME", self.path("state"))
            // Where models and data are found by name; no hub can be reached.
            .envs(HUBS.map(|(name, place)| (name, self.path(place))))
            .envs(SERVERS)
            .env_remove("USE_HF")
            .env_remove("HF_HUB_CACHE")
            .envs(environment.iter().copied())
            .stdin(File::open(io.path().join("in")).unwrap())
            .stdout(create("out"))
            .stderr(create("err"))
            // As a shell starts it, so that a signal can be sent to it and its worker alone.
            .process_group(0)
            .spawn()
            .unwrap();
        Started { command, child, io, began: Instant::now() }
    }

    pub fn run(&self, words: &[String], input: &str) -> Ended {
        self.start(words, input).wait()
    }

    /// Runs a command of plain words.
    pub fn words(&self, words: &[&str]) -> Ended {
        self.run(&words.iter().map(|w| w.to_string()).collect::<Vec<_>>(), "")
    }
}

/// A command that is running.
pub struct Started {
    command: String,
    pub child: Child,
    io: tempfile::TempDir,
    began: Instant,
}

impl Started {
    /// Sends a signal to the program and what it started, as a terminal does for Ctrl-C.
    pub fn signal_group(&self, signal: Signal) {
        let group = Pid::from_raw(self.child.id() as i32).unwrap();
        rustix::process::kill_process_group(group, signal).unwrap();
    }

    /// Waits until standard output has all of `needle`.
    pub fn wait_for(&self, needle: &str) {
        self.wait_in("out", needle);
    }

    /// Waits until standard error has all of `needle`.
    pub fn wait_to_hear(&self, needle: &str) {
        self.wait_in("err", needle);
    }

    fn wait_in(&self, file: &str, needle: &str) {
        let said = || fs::read_to_string(self.io.path().join(file)).unwrap_or_default();
        while !said().contains(needle) {
            assert!(self.began.elapsed() < LIMIT, "{} never said {needle:?}: {}", self.command, said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn wait(mut self) -> Ended {
        // It may have run for long before.
        let waited = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if waited.elapsed() > LIMIT {
                self.signal_group(Signal::KILL);
                let said = fs::read_to_string(self.io.path().join("err")).unwrap_or_default();
                panic!("{} did not end within {LIMIT:?}; it said: {said}", self.command);
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let read =
            |name: &str| String::from_utf8_lossy(&fs::read(self.io.path().join(name)).unwrap()).into_owned();
        Ended {
            stdout: read("out"),
            stderr: read("err"),
            code: status.code(),
            signal: status.signal(),
            seconds: self.began.elapsed().as_secs_f64(),
            command: self.command,
        }
    }
}

impl Ended {
    /// It ended well; its standard output.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}\n{}", self.command, self.stderr);
        &self.stdout
    }

    /// It ended in one clear error with `code`, whose message has all of `needles`; the message.
    #[track_caller]
    pub fn failed(&self, code: i32, needles: &[&str]) -> String {
        let told = format!("{}\n{}", self.command, self.stderr);
        assert_eq!((self.code, self.signal), (Some(code), None), "{told}");
        let starts: Vec<usize> = self
            .stderr
            .match_indices("error: ")
            .map(|(at, _)| at)
            .filter(|&at| at == 0 || self.stderr[..at].ends_with('\n'))
            .collect();
        assert_eq!(starts.len(), 1, "one line begins with `error: `\n{told}");
        let message = self.stderr[starts[0] + "error: ".len()..].trim_end().to_owned();
        for needle in needles {
            assert!(message.contains(needle), "{needle:?} is not in the message\n{told}");
        }
        let first = message.lines().next().unwrap();
        assert_eq!(self.stderr.matches(first).count(), 1, "the message stands there twice\n{told}");
        let foreign = [
            "panicked",
            "RUST_BACKTRACE",
            "frame #",
            "Exception raised",
            "c10::",
            "at::",
            "unwrap()",
            "expected struct",
            "Error {",
            "Some(",
            "ERROR",
        ];
        if let Some(word) = foreign.iter().find(|w| self.stderr.contains(**w)) {
            panic!("{word:?} is no word for people\n{told}");
        }
        if std::env::var_os("SHOW_MESSAGES").is_some() {
            println!("{}: {message}\n", self.command.rsplit_once("out ").map_or("", |(_, last)| last));
        }
        message
    }

    /// [`failed`](Self::failed) by the user's mistake.
    #[track_caller]
    pub fn refused(&self, needles: &[&str]) -> String {
        self.failed(2, needles)
    }
}
