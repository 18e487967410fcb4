//! A disk to fill.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// A file system of its own that is small enough to fill; gone with the test.
pub struct Disk(pub PathBuf);

impl Disk {
    /// None where this user may not mount one, which is said.
    pub fn new(place: PathBuf) -> Option<Self> {
        fs::create_dir(&place).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&place).output();
        if !mount.is_ok_and(|out| out.status.success()) {
            eprintln!("skipped: only root may mount a file system to fill");
            return None;
        }
        Some(Self(place))
    }

    /// Leaves no room.
    pub fn fill(&self) {
        let mut file = fs::File::options().create(true).append(true).open(self.0.join("filler")).unwrap();
        for size in [1 << 16, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Lets nobody write, or everybody again.
    pub fn read_only(&self, yes: bool) {
        let mode = if yes { "remount,ro" } else { "remount,rw" };
        assert!(Command::new("mount").args(["-o", mode]).arg(&self.0).status().unwrap().success());
    }

    pub fn empty(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
