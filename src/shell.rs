//! Words of commands that are printed to be pasted into a shell.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::is_unseen;

/// A path as a word of a shell's command. Where nothing needs quotes it stands as it is, in any script. What is not seen
/// and what is no UTF-8 is written in octal, in quotes that bash, zsh and POSIX's shell of 2024 read (`$'...'`).
pub fn word(path: &Path) -> String {
    let is_plain = |c: char| match c {
        '+' | ',' | '-' | '.' | '/' | ':' | '@' | '_' | '%' => true,
        c if c.is_ascii() => c.is_ascii_alphanumeric(),
        c => !c.is_whitespace(),
    };
    let bytes = path.as_os_str().as_bytes();
    match path.to_str() {
        Some(text) if text.chars().any(is_unseen) => octal(bytes),
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        Some(text) => format!("'{}'", text.replace('\'', r"'\''")),
        None => octal(bytes),
    }
}

fn octal(bytes: &[u8]) -> String {
    let mut quoted = "$'".to_owned();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\'' | '\\' => quoted.extend(['\\', c]),
                c if is_unseen(c) => push_octal(&mut quoted, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => quoted.push(c),
            }
        }
        push_octal(&mut quoted, chunk.invalid());
    }
    quoted + "'"
}

fn push_octal(quoted: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing into a string does not fail.
        let _ = write!(quoted, "\\{byte:03o}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::process::Command;

    #[test]
    fn what_needs_no_quotes_has_none() {
        for path in
            ["/tmp/评论/v0-20250101-120000", "a/b_c.json", "../输出/checkpoint-5", "Qwen/Qwen-1_8B:x@1+2,3%"]
        {
            assert_eq!(word(Path::new(path)), path);
        }
        assert_eq!(word(Path::new("sp 评'x")), r"'sp 评'\''x'");
        assert_eq!(word(Path::new("a\nb\u{202e}'\\")), r"$'a\012b\342\200\256\'\\'");
    }

    #[test]
    fn a_shell_reads_the_same_path() {
        let has = |shell: &str| Command::new(shell).args(["-c", ":"]).status().is_ok_and(|s| s.success());
        assert!(has("sh"));
        let seen: [&[u8]; 8] = [
            b"",
            b"~/a",
            b"a b",
            "评 论'$HOME`x`\"".as_bytes(),
            b"#x",
            b"a=b;c&d|e",
            b"*?[x]{1,2}!",
            b"-\\n\\",
        ];
        let unseen: [&[u8]; 3] = [b"a\nb\x1b[31m'\\", b"\xff\xfe1 \x80", "\u{3164}a\u{a0}".as_bytes()];
        for (shell, paths) in [("sh", &seen[..]), ("bash", &seen), ("bash", &unseen)] {
            for path in paths.iter().filter(|_| has(shell)) {
                let path = Path::new(OsStr::from_bytes(path));
                let quoted = word(path);
                let out = Command::new(shell).args(["-c", &format!("printf %s {quoted}")]).output().unwrap();
                assert_eq!(out.stdout, path.as_os_str().as_bytes(), "{shell}: {quoted}");
            }
        }
    }
}
