//! A program's log, read as strictly as whoever ships it elsewhere.

use std::collections::BTreeMap;

/// The fields of a line.
pub type Line = BTreeMap<String, String>;

/// Reads a line, in either form.
///
/// # Errors
/// When it is no whole line of logfmt or JSON, has a field twice, or a character that moves a
/// cursor, turns the direction of writing or ends a line somewhere.
pub fn line(text: &str) -> Result<Line, String> {
    if let Some(c) = text.chars().find(|c| c.is_control() || is_layout(*c)) {
        return Err(format!("{c:?} stands in {text:?}"));
    }
    let pairs = match text.starts_with('{') {
        true => json(text)?,
        false => logfmt(text)?,
    };
    let mut line = Line::new();
    for (key, value) in pairs {
        if line.insert(key.clone(), value).is_some() {
            return Err(format!("{key} twice in {text:?}"));
        }
    }
    for key in ["ts", "level", "msg"] {
        if !line.contains_key(key) {
            return Err(format!("no {key} in {text:?}"));
        }
    }
    Ok(line)
}

/// Line and paragraph separators, and what turns the direction of writing.
fn is_layout(c: char) -> bool {
    matches!(
        c,
        '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}'
    ) || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}

type Pairs = Vec<(String, String)>;

fn json(text: &str) -> Result<Pairs, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{error}: {text:?}");
    // What stands there twice is seen in logfmt.
    let line: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| wrong(&error))?;
    Ok(line
        .into_iter()
        .map(|(key, value)| match value {
            serde_json::Value::String(value) => (key, value),
            value => (key, value.to_string()),
        })
        .collect())
}

fn logfmt(text: &str) -> Result<Pairs, String> {
    let wrong = |what: &str| format!("{what}: {text:?}");
    let mut pairs = Pairs::new();
    let mut rest = text;
    loop {
        let (key, after) = rest.split_once('=').ok_or_else(|| wrong("no ="))?;
        if key.is_empty()
            || !key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.".contains(&b))
        {
            return Err(wrong(&format!("{key:?} is no key")));
        }
        let (value, after) = match after.strip_prefix('"') {
            None => after.split_at(after.find(' ').unwrap_or(after.len())),
            Some(_) => {
                // A quoted value is a string of JSON's.
                let mut values = serde_json::Deserializer::from_str(after).into_iter::<String>();
                let value = values.next().and_then(Result::ok);
                value.ok_or_else(|| wrong("no end of a quoted value"))?;
                after.split_at(values.byte_offset())
            }
        };
        let is_quoted = value.starts_with('"');
        if !is_quoted && value.contains(['"', '=', '\\']) {
            return Err(wrong("a bare value that is none"));
        }
        let value = match is_quoted {
            true => serde_json::from_str(value).map_err(|error| wrong(&error.to_string()))?,
            false => value.to_owned(),
        };
        pairs.push((key.to_owned(), value));
        match after.strip_prefix(' ') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(pairs),
            None => return Err(wrong("no space behind a value")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_we_write_them() {
        for text in [
            r#"ts=2026 level=warn msg="client gone" err="a \"b\"\nlevel=error" n=3"#,
            r#"{"ts":"2026","level":"warn","msg":"client gone","err":"a \"b\"\nlevel=error","n":3}"#,
        ] {
            let line = line(text).unwrap();
            assert_eq!(line["level"], "warn");
            assert_eq!(line["err"], "a \"b\"\nlevel=error");
            assert_eq!(line["n"], "3");
        }
    }

    #[test]
    fn forged_lines_are_none() {
        for text in [
            "level=error",
            "ts=1 level=info msg=x level=error",
            "ts=1 level=info msg=x y",
            "ts=1 level=info msg=\"x\" y\"",
            "ts=1 level=info msg=\"x",
            "ts=1 level=info msg=a\"b",
            "ts=1 level=info msg=\"\u{1b}[31m\"",
            "ts=1 level=info msg=\"\u{202e}\"",
            "{\"ts\":1,\"level\":\"info\"}",
            "adit-proxy: something",
        ] {
            assert!(line(text).is_err(), "{text:?}");
        }
    }
}
