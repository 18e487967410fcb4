//! The tests' server as a program, for `tests/hub/interop.py`: `hub-server DIR` serves DIR/models/OWNER/NAME and
//! DIR/datasets/OWNER/NAME on both hubs' calls, says its address, and ends with its standard input. `hub-server DIR BYTES`
//! sends so many bytes a second of each file, to see a fetch while it is at work.

#[path = "../tests/hub/server/mod.rs"]
mod server;

use std::io::Read;
use std::path::Path;

/// Parts that the bytes of a second are sent in.
const PARTS: usize = 10;

fn main() {
    let root = std::env::args().nth(1).expect("usage: hub-server DIR [BYTES_A_SECOND]");
    let speed = std::env::args().nth(2).map(|text| text.parse::<usize>().expect("bytes a second"));
    let mut repositories = Vec::new();
    for sort in ["models", "datasets"] {
        for owner in folders(&Path::new(&root).join(sort)) {
            for name in folders(&owner) {
                let id = [&owner, &name].map(|p| p.file_name().unwrap().to_str().unwrap()).join("/");
                repositories.push(server::Repository::of(sort, &id, &name));
            }
        }
    }
    let server = server::Server::start(repositories);
    if let Some(speed) = speed {
        server.fault(move |_| server::Fault::Slow((speed / PARTS).max(1), 1000 / PARTS as u64));
    }
    println!("{}", server.address());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn folders(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir()).collect()
}
