//! A URL a line, as in mpp's endpoints file.

use crate::config::query::Manner;
use crate::config::query::url::BackendUrl;

use super::super::Found;

/// The backends in it. Space around a line does not count, nor do empty lines, nor what is behind `#` at
/// the start of a line or after space.
///
/// # Errors
/// `:LINE: why`, without the line itself: a password may be in it.
pub(in crate::discovery) fn found(text: &str, manner: &Manner) -> Result<Vec<Found>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut all = Vec::new();
    for (number, line) in text.split('\n').enumerate() {
        let line = without_comment(line).trim();
        if line.is_empty() {
            continue;
        }
        let url = line.parse::<BackendUrl>();
        let url = url.map_err(|why| format!(":{}: {why}", number + 1))?;
        all.push(Found::new(url, manner));
    }
    Ok(all)
}

fn without_comment(line: &str) -> &str {
    let starts = |(at, _): &(usize, &str)| {
        line[..*at]
            .chars()
            .next_back()
            .is_none_or(char::is_whitespace)
    };
    let mut marks = line.match_indices('#');
    marks.find(starts).map_or(line, |(at, _)| &line[..at])
}

#[cfg(test)]
mod tests {
    use adit_common::credentials::Credentials;
    use proptest::prelude::*;

    use super::*;

    fn urls(text: &str) -> Result<Vec<String>, String> {
        let found = found(text, &Manner::default())?;
        Ok(found.iter().map(|found| found.url.to_string()).collect())
    }

    /// Case 5.
    #[test]
    fn mpp_lines_are_read_as_people_write_them() {
        let text = "\u{feff}# ours\r\n\r\n  http://a:9090/prefix/ \r\n\thttps://u:p%23@b\t# the new one\n\
                    tunnel://pi:9090\n   # http://c:1\n#http://d:1\nhttp://e:1#x\nhttp://f:1";
        assert_eq!(
            urls(text).unwrap(),
            [
                "http://a:9090/prefix",
                "https://b:443",
                "tunnel://pi:9090",
                "http://e:1",
                "http://f:1"
            ]
        );
        let found = found(text, &Manner::default()).unwrap();
        let Some(Credentials::Basic { user, password }) = &found[1].url.user else {
            panic!("{found:?}");
        };
        assert_eq!((user.as_str(), password.expose()), ("u", "p#"));
        assert_eq!(urls("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_wrong_line_is_named_and_no_password_shown() {
        for (text, says) in [
            ("http://a:1\nb:9090\n", ":2: expected http(s)://"),
            ("\n\nhttp://a:1 http://b:1", ":3: expected http(s)://"),
            ("ftp://u:s3cret@a", ":1: expected http(s)://"),
            ("http://u:s3cret/x@a:1", ":1: a user's '/'"),
            ("http://u:12/s3cret@a:1", ":1: a user's '/'"),
            ("http://u:s3cret?x@a:1", ":1: "),
            ("http://u:s3#cret@a:1", ":1: "),
            ("tunnel://u:s3cret@a:1", ":1: user information"),
        ] {
            let error = urls(text).unwrap_err();
            assert!(error.starts_with(says), "{text}: {error}");
            assert!(!error.contains("s3"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(\\PC|\n|\r){0,80}") {
            let _ = urls(&text);
        }
    }
}
