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

/// The address that a `Link` header calls the next page.
pub fn next_page(link: &str) -> Option<&str> {
    let part = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    Some(part.trim().strip_prefix('<')?.split_once('>')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_an_address_is_encoded() {
        assert_eq!(encoded_path("a b/评#?&.csv"), "a%20b/%E8%AF%84%23%3F%26.csv");
        assert_eq!(encoded("refs/pr/1"), "refs%2Fpr%2F1");
        let link = "<https://h/a?cursor=x>; rel=\"next\", <https://h/b>; rel=\"last\"";
        assert_eq!(next_page(link), Some("https://h/a?cursor=x"));
        assert_eq!(next_page("<https://h/b>; rel=\"last\""), None);
    }
}
