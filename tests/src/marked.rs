//! Secrets that are easily found again, in every form somebody could have written them in.

use std::fmt::Write as _;

use adit_common::secret::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What must be shown nowhere.
#[derive(Debug, Clone, Default)]
pub struct Marked {
    forms: Vec<(String, String)>,
}

impl Marked {
    /// Looks for this one, too: as it is, in hexadecimal and percent-encoded, in Base64 wherever it
    /// may begin within it, and by its SHA-256.
    pub fn add(&mut self, what: &str, secret: &str) {
        let mut form = |form: &str, text: String| {
            self.forms.push((format!("{what}, {form}"), text));
        };
        form("raw", secret.to_owned());
        form("reversed", secret.chars().rev().collect());
        form("hexadecimal", hexadecimal(secret.as_bytes()));
        form("percent-encoded", percent(secret));
        form("SHA-256", Digest::of(secret.as_bytes()).to_string());
        for before in 0..3 {
            let text = format!("{}{secret}", "\0".repeat(before));
            let encoded = base64(text.as_bytes());
            // The first character beside what precedes it, and the last beside what follows, vary.
            let skip = usize::from(before > 0) * (before + 1);
            let end = encoded.trim_end_matches('=').len() - 1;
            form("Base64", encoded[skip..end].to_owned());
            form(
                "Base64 for URLs",
                encoded[skip..end].replace('+', "-").replace('/', "_"),
            );
        }
    }

    /// # Panics
    /// When one of them stands in `text`, with where.
    pub fn assert_absent(&self, place: &str, text: &str) {
        for (what, form) in &self.forms {
            if let Some(at) = text.find(form.as_str()) {
                let line = text[..at].lines().count();
                let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
                let shown: String = text[start..].chars().take(300).collect();
                panic!("{place} shows a secret ({what}), line {line}: {shown}");
            }
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut text, byte| {
        let _ = match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => write!(text, "{}", char::from(byte)),
            false => write!(text, "%{byte:02X}"),
        };
        text
    })
}

/// As it stands in a field.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(text: &str) -> bool {
        let mut marked = Marked::default();
        marked.add("a password", "p4ss/word marked");
        let text = text.to_owned();
        std::panic::catch_unwind(move || marked.assert_absent("here", &text)).is_err()
    }

    #[test]
    fn a_secret_is_found_in_every_form() {
        let secret = "p4ss/word marked";
        for text in [
            secret.to_owned(),
            format!("x{secret}x"),
            base64(secret.as_bytes()),
            base64(format!("u:{secret}").as_bytes()),
            base64(format!("us:{secret}").as_bytes()),
            base64(format!("use:{secret}").as_bytes()),
            base64(format!("user:{secret}xyz").as_bytes()),
            "p4ss%2Fword%20marked".into(),
            Digest::of(secret.as_bytes()).to_string(),
        ] {
            assert!(finds(&text), "{text}");
        }
        assert!(!finds("p4ss word, marked"));
    }
}
