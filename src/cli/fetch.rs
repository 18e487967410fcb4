//! Fetching what a job names and this machine does not have, before the engine is started.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use qwen_tui::error::{Result, shown};
use qwen_tui::hub::{self, Absent, Cached, Failed, Network, latest};
use qwen_tui::job::stop::Stop;

use super::out;
use super::pulling::{INTERRUPTED, Screen};

/// Fetches it, with its progress on standard error. Ctrl-C ends the program: what has come is kept.
///
/// # Errors
/// No hub that may have it gives it.
pub fn fetch(absent: &Absent) -> Result<PathBuf> {
    // SIGTERM ends the program by itself: once caught it would be lost on what follows.
    let stop = Stop::catch(&[libc::SIGINT])?;
    fetch_until(absent, &|| stop.came())?.map_or_else(|| std::process::exit(INTERRUPTED), Ok)
}

/// Fetches it, with its progress on standard error; none where `stopped` has ended it, which has been said.
///
/// # Errors
/// No hub that may have it gives it.
pub fn fetch_until(absent: &Absent, stopped: &dyn Fn() -> bool) -> Result<Option<PathBuf>> {
    out::note(&absent.told());
    let mut screen = Screen::for_stderr();
    let fetched = hub::fetch(absent, &Network::default(), &mut |progress| screen.show(progress), stopped);
    screen.close();
    match fetched {
        // Later ones are the job's.
        Ok(dir) if !stopped() => {
            out::note(&format!("{}: fetched into {}", absent.name, shown(&dir)));
            Ok(Some(dir))
        }
        Ok(_) | Err(Failed::Cancelled) => {
            out::note(&format!("stopped; {}", screen.kept()));
            Ok(None)
        }
        Err(e) => Err(e.into()),
    }
}

/// How long a hub's answer is waited for at the end of a job.
const MOMENT: Duration = Duration::from_secs(1);

/// Whether a hub has newer files of the model, asked beside the job.
pub struct Newer(JoinHandle<Option<String>>);

impl Newer {
    pub fn ask(model: Cached) -> Newer {
        Newer(std::thread::spawn(move || latest::newer(&model)))
    }

    /// Says so, where the answer has come: beneath the progress, which it would tear before. The job is done by now, so a
    /// moment may be given to it.
    pub fn tell(self) {
        let began = Instant::now();
        while !self.0.is_finished() && began.elapsed() < MOMENT {
            std::thread::sleep(Duration::from_millis(10));
        }
        if self.0.is_finished()
            && let Ok(Some(told)) = self.0.join()
        {
            out::note(&told);
        }
    }
}
