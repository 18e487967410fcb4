//! The worker's command socket: where it lies, and the client's end.
//!
//! One line in, one line out: a [`Command`] as JSON, answered with `{"ok":true}` (it will be obeyed after the step at
//! hand; the event log tells when it was) or `{"error":"..."}`.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Context, Error, Result, brief, shown};
use crate::job::event::Command;
use crate::job::frames::{Frames, TooLong};

/// The socket's name in the run directory.
pub const SOCKET: &str = "worker.sock";
/// The file that names the socket where the run directory's file system knows no sockets.
pub const POINTER: &str = "worker.sock.path";
/// The longest line that either end reads, in bytes.
pub const LINE_LIMIT: usize = 64 << 10;

/// Bytes that the path in a socket's address has room for.
const PATH_LIMIT: usize = 107;
/// How long a command may take until it is answered.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What the worker says to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    Error { error: String },
    Ok { ok: bool },
}

impl Answer {
    pub fn refuse(error: impl Into<String>) -> Answer {
        Answer::Error { error: error.into() }
    }
}

/// The command in a line that a client has sent.
///
/// # Errors
/// The answer that refuses it.
pub fn command(line: Result<Vec<u8>, TooLong>) -> Result<Command, Answer> {
    let line =
        line.map_err(|_| Answer::refuse(format!("a line of more than {LINE_LIMIT} bytes is no command")))?;
    serde_json::from_slice(&line).map_err(|e| Answer::refuse(format!("not a command: {}", brief(&e))))
}

/// Why a command was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Untaken {
    /// The worker is there and lets it wait.
    #[error(transparent)]
    Silent(Error),
    /// No worker is there, or it refuses.
    #[error(transparent)]
    Other(#[from] Error),
}

impl From<Untaken> for Error {
    fn from(e: Untaken) -> Error {
        let (Untaken::Silent(e) | Untaken::Other(e)) = e;
        e
    }
}

/// A path that fits into a socket's address.
#[derive(Debug)]
pub struct Address {
    path: PathBuf,
    /// Keeps `/proc/self/fd/N` alive.
    _dir: Option<OwnedFd>,
}

impl Address {
    /// `dir/name`; where that is too long the directory is opened and named by its descriptor.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn new(dir: &Path, name: &str) -> std::io::Result<Address> {
        let path = dir.join(name);
        if path.as_os_str().len() <= PATH_LIMIT {
            return Ok(Address { path, _dir: None });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(dir, flags, Mode::empty())?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&dir);
        Ok(Address { path: format!("/proc/self/fd/{number}/{name}").into(), _dir: Some(dir) })
    }

    /// Good as long as `self` lives.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Where the socket goes when the run directory's file system knows no sockets: a directory of this user's own and the
/// name in it. `/tmp` and not `XDG_RUNTIME_DIR`, which is emptied at logout while the run goes on.
///
/// # Errors
/// The directory cannot be made, or somebody else made it.
pub fn private_place(run_dir: &Path) -> Result<(PathBuf, String)> {
    let uid = rustix::process::geteuid().as_raw();
    let dir = PathBuf::from(format!("/tmp/qwen-tui-{uid}"));
    match std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&dir) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e).user(dir.display()),
        _ => {}
    }
    // Not followed: a link would lead wherever its owner likes.
    let meta = std::fs::symlink_metadata(&dir).user(dir.display())?;
    if !meta.is_dir() || meta.uid() != uid || meta.mode() & 0o077 != 0 {
        return Err(Error::user(format!(
            "{} is not a directory that only you can enter: remove it, or `chmod 700` it",
            dir.display()
        )));
    }
    let hash = Sha256::digest(run_dir.as_os_str().as_encoded_bytes());
    let name: String = hash[..12].iter().map(|b| format!("{b:02x}")).collect();
    Ok((dir, format!("{name}.sock")))
}

/// Whether a process of the user `uid` may be at the other end: this user's, or root's.
pub fn trusted(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Sends `command` to the worker of the run and waits for its answer, 2 seconds at most.
///
/// # Errors
/// `Error::User` where no worker runs, or it refuses; `Error::Internal` where it does not answer.
pub fn send(run_dir: &Path, command: Command) -> Result<(), Untaken> {
    let deadline = Instant::now() + TIMEOUT;
    let mut stream = open(run_dir)?;
    let mut line = serde_json::to_vec(&command).internal("writing a command")?;
    line.push(b'\n');
    let silent = |e: std::io::Error| {
        let waits = matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        let e = Error::internal(format!("the worker of {} {}", shown(run_dir), silence(&e)));
        if waits { Untaken::Silent(e) } else { Untaken::Other(e) }
    };
    match stream.write_all(&line) {
        // Turned away before it was heard: the reason stands in the answer.
        Err(e) if !matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
            return Err(silent(e));
        }
        _ => {}
    }
    let mut frames = Frames::new(LINE_LIMIT);
    let mut buffer = [0; 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left)).internal("the socket's timeout")?;
        let n = match stream.read(&mut buffer) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            read => read.map_err(silent)?,
        };
        if n == 0 {
            return Err(silent(ErrorKind::UnexpectedEof.into()));
        }
        let Some(answer) = frames.push(&buffer[..n]).into_iter().next() else { continue };
        let answer = answer.map_err(|_| silent(ErrorKind::InvalidData.into()))?;
        return match serde_json::from_slice(&answer).internal("the worker's answer")? {
            Answer::Ok { ok: true } => Ok(()),
            Answer::Ok { ok: false } => Err(Error::user("the worker refuses the command").into()),
            Answer::Error { error } => Err(Error::User(error).into()),
        };
    }
}

/// [`send`] for async callers, which it does not hold up.
pub async fn send_async(run_dir: PathBuf, command: Command) -> Result<()> {
    let sent = tokio::task::spawn_blocking(move || send(&run_dir, command)).await;
    Ok(sent.internal("sending a command")??)
}

/// What a failed read or write says of the worker.
fn silence(e: &std::io::Error) -> String {
    match e.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("does not answer within {} s: it is stopped (SIGSTOP) or starved", TIMEOUT.as_secs())
        }
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
            "ended before it answered".to_owned()
        }
        _ => format!("does not answer: {e}"),
    }
}

/// The socket's directory and name.
fn place(run_dir: &Path) -> Option<(PathBuf, String)> {
    let in_run =
        |dir: &Path| std::fs::symlink_metadata(dir.join(SOCKET)).is_ok_and(|m| m.file_type().is_socket());
    if in_run(run_dir) {
        return Some((run_dir.to_owned(), SOCKET.to_owned()));
    }
    let mut named = String::new();
    let file = std::fs::File::open(run_dir.join(POINTER)).ok()?;
    file.take(4096).read_to_string(&mut named).ok()?;
    let named = Path::new(named.trim_end());
    let name = named.file_name()?.to_str()?.to_owned();
    named.is_absolute().then(|| Some((named.parent()?.to_owned(), name)))?
}

fn open(run_dir: &Path) -> Result<UnixStream> {
    let nobody = |why: &str| Error::user(format!("{}: no worker is training this run{why}", shown(run_dir)));
    if !run_dir.is_dir() {
        return Err(Error::user(format!("{}: no such run directory", shown(run_dir))));
    }
    let (dir, name) = place(run_dir).ok_or_else(|| nobody(""))?;
    let whole = dir.join(&name);
    let address = Address::new(&dir, &name).user(dir.display())?;
    let address =
        SocketAddrUnix::new(address.path()).map(|a| (a, address)).internal("the socket's address")?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .internal("making a socket")?;
    // The kernel minds this in connect(2) too, which waits where too many clients are ahead.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(TIMEOUT))
        .internal("the socket's timeout")?;
    match connect(&socket, &address.0).map_err(std::io::Error::from) {
        Ok(()) => {}
        Err(e) => {
            return Err(match e.kind() {
                ErrorKind::NotFound => nobody(""),
                ErrorKind::ConnectionRefused => nobody(" (the last one did not end by itself)"),
                ErrorKind::PermissionDenied => {
                    Error::user(format!("{}: {e}; the run belongs to another user", whole.display()))
                }
                _ => Error::internal(format!("the worker of {} {}", shown(run_dir), silence(&e))),
            });
        }
    }
    // In a directory that others can write, anybody could have put a socket there.
    let peer = sockopt::socket_peercred(&socket).internal("asking who listens on the socket")?.uid.as_raw();
    let own = rustix::process::geteuid().as_raw();
    if !trusted(peer) && own != 0 {
        return Err(Error::user(format!(
            "{}: the socket belongs to another user ({peer}), not to a worker of yours",
            whole.display()
        )));
    }
    Ok(UnixStream::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// Answers each connection's first line with `answer`; returns the lines.
    fn play(listener: UnixListener, answer: &'static str) -> std::thread::JoinHandle<String> {
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 200];
            let n = stream.read(&mut buffer).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&buffer[..n]).into_owned()
        })
    }

    #[test]
    fn a_command_is_a_line_and_its_answer_another() {
        let dir = tempfile::tempdir().unwrap();
        for (answer, expected) in [
            ("{\"ok\":true}\n", Ok(())),
            ("{\"error\":\"the run has ended\"}\n", Err((2, "the run has ended"))),
            ("", Err((1, "ended before it answered"))),
            ("what?\n", Err((1, "the worker's answer"))),
        ] {
            let _ = std::fs::remove_file(dir.path().join(SOCKET));
            let server = play(UnixListener::bind(dir.path().join(SOCKET)).unwrap(), answer);
            match (send(dir.path(), Command::Pause), expected) {
                (Ok(()), Ok(())) => {}
                (Err(e), Err((status, text))) => {
                    let e = Error::from(e);
                    assert!(e.exit_code() == status && e.to_string().contains(text), "{e}");
                }
                other => panic!("{answer:?}: {other:?}"),
            }
            assert_eq!(server.join().unwrap(), "{\"command\":\"pause\"}\n");
        }
    }

    #[test]
    fn without_a_worker_the_user_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let error = Error::from(send(dir.path(), Command::Stop).unwrap_err());
        assert!(error.exit_code() == 2 && error.to_string().contains("no worker"), "{error}");
        // What a killed worker leaves behind.
        drop(UnixListener::bind(dir.path().join(SOCKET)).unwrap());
        let error = Error::from(send(dir.path(), Command::Stop).unwrap_err());
        assert!(error.exit_code() == 2 && error.to_string().contains("did not end by itself"), "{error}");
        // Not everything of that name is a socket, and not every pointer leads somewhere.
        std::fs::remove_file(dir.path().join(SOCKET)).unwrap();
        std::fs::write(dir.path().join(SOCKET), "x").unwrap();
        for pointer in ["", "/", "nowhere.sock", "/nowhere/at/all.sock\n", "\u{0}"] {
            std::fs::write(dir.path().join(POINTER), pointer).unwrap();
            assert_eq!(
                Error::from(send(dir.path(), Command::Stop).unwrap_err()).exit_code(),
                2,
                "{pointer:?}"
            );
        }
        assert_eq!(Error::from(send(&dir.path().join("none"), Command::Stop).unwrap_err()).exit_code(), 2);
    }

    #[test]
    fn a_worker_that_hangs_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        let began = Instant::now();
        let error = send(dir.path(), Command::Save).unwrap_err();
        assert!(error.to_string().contains("does not answer within 2 s"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_long_path_and_a_pointer_lead_to_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(90)).join("e".repeat(90));
        std::fs::create_dir_all(&deep).unwrap();
        let address = Address::new(&deep, SOCKET).unwrap();
        assert!(address.path().as_os_str().len() <= PATH_LIMIT);
        let server = play(UnixListener::bind(address.path()).unwrap(), "{\"ok\":true}\n");
        assert!(deep.join(SOCKET).exists());
        send(&deep, Command::Resume).unwrap();
        server.join().unwrap();

        let (other, run) = (dir.path().join("other.sock"), dir.path().join("run"));
        std::fs::create_dir(&run).unwrap();
        std::fs::write(run.join(POINTER), format!("{}\n", other.display())).unwrap();
        let server = play(UnixListener::bind(&other).unwrap(), "{\"ok\":true}\n");
        send(&run, Command::Resume).unwrap();
        server.join().unwrap();
    }

    #[test]
    fn the_private_place_is_private() {
        let (dir, name) = private_place(Path::new("/a/run")).unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        assert!(dir.join(&name).as_os_str().len() <= PATH_LIMIT);
        assert_ne!(name, private_place(Path::new("/another/run")).unwrap().1);
    }
}
