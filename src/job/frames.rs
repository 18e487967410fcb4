//! Lines out of a stream of bytes, none of them longer than a limit: what both ends of a socket or pipe read with.

/// A line longer than the limit, of which nothing was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Cuts bytes into lines. Never holds more than one line of the longest length.
#[derive(Debug)]
pub struct Frames {
    limit: usize,
    /// The line that has no newline yet.
    begun: Vec<u8>,
    /// Inside a line that is too long, up to its newline.
    skipping: bool,
}

impl Frames {
    /// Lines of at most `limit` bytes, the newline not counted.
    pub fn new(limit: usize) -> Frames {
        Frames { limit, begun: Vec::new(), skipping: false }
    }

    /// The lines that `bytes` end, without their newlines; blank ones are left out. A line that is too long is told as
    /// soon as it is, once.
    pub fn push(&mut self, mut bytes: &[u8]) -> Vec<Result<Vec<u8>, TooLong>> {
        let mut lines = Vec::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|b| *b == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if !self.skipping && self.begun.len() + part.len() > self.limit {
                self.begun = Vec::new();
                self.skipping = true;
                lines.push(Err(TooLong));
            } else if !self.skipping {
                self.begun.extend_from_slice(part);
            }
            let Some(end) = end else { break };
            bytes = &bytes[end + 1..];
            if !std::mem::take(&mut self.skipping) {
                lines.extend(self.finish().map(Ok));
            }
        }
        lines
    }

    /// The last line, which the end of the stream ends.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.begun);
        (!line.trim_ascii().is_empty()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_do_not_depend_on_how_the_bytes_arrive() {
        let stream = b"ab\n\n  \r\nabcde\nabcdefgh\nx\nlast";
        let line = |s: &str| Ok(s.as_bytes().to_vec());
        let expected = [line("ab"), line("abcde"), Err(TooLong), line("x")];
        for size in 1..stream.len() {
            let mut frames = Frames::new(5);
            let lines: Vec<_> = stream.chunks(size).flat_map(|c| frames.push(c)).collect();
            assert_eq!(lines, expected, "in pieces of {size}");
            assert_eq!(frames.finish().as_deref(), Some(&b"last"[..]));
        }
    }

    #[test]
    fn a_line_without_end_costs_no_memory() {
        let mut frames = Frames::new(64);
        let told: Vec<_> = (0..10_000).flat_map(|_| frames.push(&[b'x'; 100])).collect();
        assert_eq!(told, [Err(TooLong)]);
        assert!(frames.begun.capacity() <= 64);
        assert_eq!(frames.push(b"\nok\n"), [Ok(b"ok".to_vec())]);
    }
}
