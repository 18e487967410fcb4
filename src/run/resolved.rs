//! Where a path leads, whether or not anything is there yet.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// More links than the kernel follows.
const LINKS: usize = 40;

/// Where a directory made at `path` lies: links are followed, those too that lead to nothing yet, and `..` leads back from
/// what need not be there. So two paths of the same place are equal before anybody has made it. A circle of links is
/// left as it is.
pub fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut left: Vec<OsString> = parts(&path);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = left.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        match next.read_link() {
            Ok(target) => {
                links += 1;
                if links > LINKS {
                    return path;
                }
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                left.extend(parts(&target));
            }
            Err(_) => at = next,
        }
    }
    at
}

/// The names in `path`, last first.
fn parts(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut names: Vec<OsString> = names.collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn all_ways_to_a_place_are_the_same_before_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir(dir.join("there")).unwrap();
        symlink("there", dir.join("link")).unwrap();
        symlink("../new", dir.join("there/dangling")).unwrap();
        symlink(dir.join("link/dangling"), dir.join("twice")).unwrap();
        for way in ["new", "./new/", "x/../new", "x/y/../../new", "link/dangling", "twice", "link/../new"] {
            assert_eq!(resolved(&dir.join(way)), dir.join("new"), "{way}");
        }
        assert_eq!(resolved(&dir.join("link/a/b")), dir.join("there/a/b"));
        assert_eq!(resolved(Path::new("/../..")), Path::new("/"));
        symlink("circle", dir.join("circle")).unwrap();
        assert_eq!(resolved(&dir.join("circle/a")), dir.join("circle/a"));
    }
}
