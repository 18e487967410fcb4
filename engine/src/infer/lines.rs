//! Texts from standard input, a line each.

use std::io::BufRead;

use qwen_tui::data::BOM;
use qwen_tui::error::{Error, Result};

/// Lines of text, counted from 1.
pub struct Lines<'a> {
    input: &'a mut dyn BufRead,
    number: usize,
}

impl<'a> Lines<'a> {
    pub fn new(input: &'a mut dyn BufRead) -> Self {
        Self { input, number: 0 }
    }

    /// Where the newest line stands, for messages.
    pub fn place(&self) -> String {
        format!("standard input, line {}", self.number)
    }

    /// The next line without its end; none at the end of the input.
    ///
    /// # Errors
    /// A line that is not UTF-8, by its number; input that cannot be read.
    pub fn next_line(&mut self) -> Result<Option<String>> {
        self.try_line()?.transpose()
    }

    /// [`next_line`](Self::next_line), after whose inner error the lines go on.
    pub fn try_line(&mut self) -> Result<Option<Result<String>>> {
        let mut bytes = Vec::new();
        self.number += 1;
        if self
            .input
            .read_until(b'\n', &mut bytes)
            .map_err(|e| Error::user(e.to_string()).context(self.place()))?
            == 0
        {
            return Ok(None);
        }
        if self.number == 1 && bytes.starts_with(BOM) {
            bytes.drain(..BOM.len());
        }
        let line = String::from_utf8(bytes).map_err(|_| {
            Error::user("not UTF-8; convert it (from GBK: iconv -f GBK -t UTF-8)").context(self.place())
        });
        Ok(Some(line.map(|line| line.trim_end_matches(['\n', '\r']).to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_by_number() {
        let mut input = &b"\xef\xbb\xbfa\r\n\n\xba\n"[..];
        let mut lines = Lines::new(&mut input);
        assert_eq!(lines.next_line().unwrap().as_deref(), Some("a"));
        assert_eq!(lines.next_line().unwrap().as_deref(), Some(""));
        assert!(lines.next_line().unwrap_err().to_string().starts_with("standard input, line 3: not UTF-8"));
        assert_eq!(lines.next_line().unwrap(), None);
    }
}
