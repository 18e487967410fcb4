//! The worker's end of the command socket.
//!
//! Each client has a task of its own, so one that reads nothing or sends without end holds up neither the others nor
//! the training, which only ever looks into a channel.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use qwen_tui::error::{Context, Error, Result};
use qwen_tui::job::event::Command;
use qwen_tui::job::frames::{Frames, TooLong};
use qwen_tui::job::socket::{Address, Answer, LINE_LIMIT, POINTER, SOCKET, command, private_place, trusted};
use qwen_tui::run::RunDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::Semaphore;

/// Clients served at once: each takes a file descriptor, which the run needs some of.
const CLIENTS: usize = 256;
/// The least time between two commands of one client, so that a flood does not fill the channel.
const BREATH: Duration = Duration::from_millis(10);
/// How long a client may leave an answer unread.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes a command; false where the run has ended.
pub type Commands = Arc<dyn Fn(Command) -> bool + Send + Sync>;

/// The socket, bound and listening. Its files go with it.
pub struct CommandSocket {
    listener: UnixListener,
    files: Files,
}

/// What lies on disk for the socket; removed on drop.
pub struct Files(Vec<PathBuf>);

impl Drop for Files {
    fn drop(&mut self) {
        for file in &self.0 {
            let _ = std::fs::remove_file(file);
        }
    }
}

impl CommandSocket {
    /// Listens on `RUN_DIR/worker.sock`; where the file system there knows no sockets, in a private directory, named by
    /// `RUN_DIR/worker.sock.path`. What a dead worker left is removed: the caller holds the run's lock.
    ///
    /// # Errors
    /// Neither place works; a file that is no socket has the name.
    pub fn bind(run: &RunDir) -> Result<Self> {
        let path = run.socket();
        let pointer = run.path().join(POINTER);
        remove_stale(&path)?;
        let _ = std::fs::remove_file(&pointer);
        let refused = match listen(run.path(), SOCKET) {
            Ok(listener) => return Ok(Self { listener, files: Files(vec![path]) }),
            Err(e) => e.to_string(),
        };
        Self::bind_elsewhere(run.path()).map_err(|e| e.context(refused))
    }

    /// In the private directory, with the pointer to it in `run_dir`.
    fn bind_elsewhere(run_dir: &Path) -> Result<Self> {
        let (dir, name) = private_place(run_dir)?;
        let (path, pointer) = (dir.join(&name), run_dir.join(POINTER));
        remove_stale(&path)?;
        let listener = listen(&dir, &name)?;
        let files = Files(vec![path.clone(), pointer.clone()]);
        std::fs::write(&pointer, format!("{}\n", path.display())).user(pointer.display())?;
        Ok(Self { listener, files })
    }

    /// Serves every client that comes, in a task, until the runtime ends; commands go to `commands`.
    ///
    /// The files are returned: while they live the socket can be found.
    pub fn serve(self, commands: Commands) -> Files {
        let Self { listener, files } = self;
        let places = Arc::new(Semaphore::new(CLIENTS));
        tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else {
                    // Out of file descriptors, most likely.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                if !stream.peer_cred().is_ok_and(|peer| trusted(peer.uid())) {
                    turn_away(&stream);
                    continue;
                }
                let (place, commands) = (Arc::clone(&places).try_acquire_owned(), commands.clone());
                tokio::spawn(async move {
                    // A client that goes away in the middle is its own affair.
                    let _ = match place {
                        Ok(_place) => attend(stream, &commands).await,
                        Err(_) => {
                            tell(&mut stream, &Answer::refuse("too many clients at once; try again")).await
                        }
                    };
                });
            }
        });
        files
    }
}

/// Says why, and waits for nothing: the answer fits into the socket's buffer, and whoever it is has no claim to more.
fn turn_away(stream: &UnixStream) {
    if let Ok(mut line) = serde_json::to_vec(&Answer::refuse("this run belongs to another user")) {
        line.push(b'\n');
        let _ = stream.try_write(&line);
    }
}

/// Only a socket is removed: anything else is no worker's.
fn remove_stale(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => std::fs::remove_file(path).user(path.display()),
        Ok(_) => {
            Err(Error::user(format!("{}: is in the way of the worker's socket; remove it", path.display())))
        }
        Err(_) => Ok(()),
    }
}

/// A socket that only its owner may connect to: the mode is set before anybody can.
fn listen(dir: &Path, name: &str) -> Result<UnixListener> {
    let shown = dir.join(name);
    let address = Address::new(dir, name).user(dir.display())?;
    let socket = UnixSocket::new_stream().internal("making a socket")?;
    socket.bind(address.path()).user(shown.display())?;
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(address.path(), mode)
        .and_then(|()| socket.listen(128))
        .inspect_err(|_| drop(std::fs::remove_file(&shown)))
        .user(shown.display())
}

/// Reads a client's lines and answers each.
async fn attend(mut stream: UnixStream, commands: &Commands) -> std::io::Result<()> {
    let mut frames = Frames::new(LINE_LIMIT);
    let mut buffer = vec![0; 4096];
    loop {
        let n = stream.read(&mut buffer).await?;
        let mut lines = frames.push(&buffer[..n]);
        if n == 0 {
            lines.extend(frames.finish().map(Ok));
        }
        for line in lines {
            tell(&mut stream, &obey(line, commands)).await?;
            tokio::time::sleep(BREATH).await;
        }
        if n == 0 {
            return Ok(());
        }
    }
}

fn obey(line: Result<Vec<u8>, TooLong>, commands: &Commands) -> Answer {
    match command(line) {
        Err(refusal) => refusal,
        Ok(command) => {
            tracing::info!("{command:?} by the socket");
            match commands(command) {
                true => Answer::Ok { ok: true },
                false => Answer::refuse("the run has ended"),
            }
        }
    }
}

async fn tell(stream: &mut UnixStream, answer: &Answer) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    tokio::time::timeout(PATIENCE, stream.write_all(&line)).await?
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use qwen_tui::job::socket::send_async;

    #[tokio::test]
    async fn a_socket_elsewhere_is_found_and_goes_with_its_worker() {
        let run = tempfile::tempdir().unwrap();
        let (commands, received) = mpsc::channel();
        let socket = CommandSocket::bind_elsewhere(run.path()).unwrap();
        let files = socket.serve(Arc::new(move |command| commands.send(command).is_ok()));
        let path = files.0[0].clone();
        assert_eq!(std::fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        send_async(run.path().to_owned(), Command::Save).await.unwrap();
        assert_eq!(received.try_recv(), Ok(Command::Save));
        drop(received);
        let error = send_async(run.path().to_owned(), Command::Save).await.unwrap_err();
        assert!(error.to_string().contains("has ended"), "{error}");
        drop(files);
        assert!(!path.exists() && !run.path().join(POINTER).exists());
    }

    #[tokio::test]
    async fn more_clients_than_places_are_told_so() {
        let run = tempfile::tempdir().unwrap();
        let files = CommandSocket::bind_elsewhere(run.path()).unwrap().serve(Arc::new(|_| true));
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(UnixStream::connect(&files.0[0]).await.unwrap());
        }
        let error = send_async(run.path().to_owned(), Command::Stop).await.unwrap_err();
        assert!(error.to_string().contains("too many clients"), "{error}");
        clients.pop();
        for attempt in 0.. {
            match send_async(run.path().to_owned(), Command::Stop).await {
                Ok(()) => break,
                Err(e) => assert!(attempt < 100, "{e}"),
            }
        }
    }
}
