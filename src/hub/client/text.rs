//! Parts of an address.

/// Percent-encodes everything but letters, digits and `-_.~`, so that it stands for one part of a path or query.
pub fn encoded(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The same of each part between slashes.
pub fn encoded_path(path: &str) -> String {
    path.split('/').map(encoded).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_an_address_is_encoded() {
        assert_eq!(encoded_path("a b/评#?&.csv"), "a%20b/%E8%AF%84%23%3F%26.csv");
        assert_eq!(encoded("refs/pr/1"), "refs%2Fpr%2F1");
    }
}
