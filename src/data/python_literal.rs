//! Lists written as text in a cell, in JSON or as Python prints them: `[['问', '答']]`, `[{'from': 'user', ...}]`.

use serde_json::{Map, Value};

/// Nesting beyond this is refused: the data sets need three levels.
const MAX_DEPTH: usize = 32;

/// The value of a literal of lists, tuples, dicts, strings, numbers and constants.
/// Numbers are not needed by any reader of this room and become null.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut p = Parser { text, at: 0 };
    let value = p.value(0)?;
    p.space();
    if p.at < text.len() {
        return p.fail("something follows its end");
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn fail<T>(&self, reason: &str) -> Result<T, String> {
        Err(format!("{reason} (character {})", self.text[..self.at].chars().count() + 1))
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.next();
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return self.fail("nested too deeply");
        }
        self.space();
        match self.peek() {
            Some('[') => self.list(']', depth),
            Some('(') => self.list(')', depth),
            Some('{') => self.dict(depth),
            Some('\'' | '"') => self.string().map(Value::String),
            Some(c) if c.is_ascii_alphanumeric() || c == '-' => self.word(),
            _ => self.fail("a list, a text or a number was expected"),
        }
    }

    fn list(&mut self, close: char, depth: usize) -> Result<Value, String> {
        self.next();
        let mut items = Vec::new();
        loop {
            self.space();
            if self.accept(close) {
                return Ok(Value::Array(items));
            }
            items.push(self.value(depth + 1)?);
            self.separator(close)?;
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Value, String> {
        self.next();
        let mut map = Map::new();
        loop {
            self.space();
            if self.accept('}') {
                return Ok(Value::Object(map));
            }
            if !matches!(self.peek(), Some('\'' | '"')) {
                return self.fail("a key was expected");
            }
            let key = self.string()?;
            self.space();
            if !self.accept(':') {
                return self.fail("a colon was expected");
            }
            map.insert(key, self.value(depth + 1)?);
            self.separator('}')?;
        }
    }

    /// A comma, or the closing bracket ahead.
    fn separator(&mut self, close: char) -> Result<(), String> {
        self.space();
        if self.accept(',') || self.peek() == Some(close) {
            return Ok(());
        }
        self.fail("a comma or the closing bracket was expected")
    }

    fn word(&mut self) -> Result<Value, String> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || "+-._".contains(c)) {
            self.next();
        }
        match &self.text[start..self.at] {
            "True" | "true" => Ok(Value::Bool(true)),
            "False" | "false" => Ok(Value::Bool(false)),
            "None" | "null" => Ok(Value::Null),
            word if word.parse::<f64>().is_ok() => Ok(Value::Null),
            _ => self.fail("an unknown word"),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let quote = self.next();
        let mut out = String::new();
        loop {
            let c = self.next();
            match c {
                None => return self.fail("a text is not closed"),
                Some('\\') => self.escape(&mut out)?,
                _ if c == quote => return Ok(out),
                Some(c) => out.push(c),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), String> {
        let plain = match self.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some(c @ ('\\' | '\'' | '"')) => c,
            Some('x') => return self.code(2, out),
            Some('u') => return self.code(4, out),
            Some('U') => return self.code(8, out),
            Some(c) => {
                // Python keeps a backslash that begins no escape.
                out.push('\\');
                c
            }
            None => return self.fail("a text is not closed"),
        };
        out.push(plain);
        Ok(())
    }

    /// A character by its code of so many hexadecimal digits.
    fn code(&mut self, digits: usize, out: &mut String) -> Result<(), String> {
        let code = self.text.get(self.at..self.at + digits).and_then(|d| u32::from_str_radix(d, 16).ok());
        let Some(c) = code.and_then(char::from_u32) else { return self.fail("a broken \\x, \\u or \\U") };
        self.at += digits;
        out.push(c);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_python_prints() {
        assert_eq!(parse(r#"[["a", "b"]]"#), Ok(json!([["a", "b"]])));
        assert_eq!(
            parse(r#"[('it\'s', "say 'x'\n"), [ '\u4e0d\xe9\\' , None, True, -1.5e3,],]"#),
            Ok(json!([["it's", "say 'x'\n"], ["不é\\", null, true, null]]))
        );
        assert_eq!(parse("{'from': 'user', 'value': '好'}"), Ok(json!({"from": "user", "value": "好"})));
        assert_eq!(parse("()"), Ok(json!([])));
    }

    #[test]
    fn refuses_without_a_panic() {
        for bad in [
            "",
            "[",
            "['a",
            "['a' 'b']",
            "[a]",
            "{'a'}",
            "{1: 2}",
            "['a'] x",
            "'\\",
            "'\\u12'",
            "'\\ud800'",
            "'\\x好'",
            "os.system('x')",
            "（",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&"[".repeat(100_000)).unwrap_err().contains("deeply"));
        assert!(parse(&"{'a':".repeat(100_000)).is_err());
    }
}
