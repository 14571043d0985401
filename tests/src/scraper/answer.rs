//! What a scraper got.

use std::time::Duration;

/// A whole exchange, as far as it went.
#[derive(Debug, Clone)]
pub struct Answer {
    /// All zero when none came.
    pub head: Head,
    /// Without its chunking.
    pub body: Vec<u8>,
    /// Whether it is all there.
    pub end: End,
    /// From the first byte of the request to the last of the answer.
    pub took: Duration,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As its head promised.
    Complete,
    /// With the connection, and nothing was promised: nobody can tell.
    UntilClose,
    /// Before what its head promised, or against the grammar; how.
    Cut(String),
}

/// A status line and its fields.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// As it came, with its empty line.
    pub raw: String,
    /// Of the status line.
    pub status: u16,
    /// The words behind the status.
    pub reason: String,
    /// Names as they came, values without surrounding spaces.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Reads one; what is against the grammar is left out.
    pub(super) fn parse(raw: &[u8]) -> Self {
        let raw = String::from_utf8_lossy(raw).into_owned();
        let mut lines = raw.split("\r\n");
        let mut first = lines.next().unwrap_or("").splitn(3, ' ');
        let version = first.next().unwrap_or("");
        let status = first.next().and_then(|text| text.parse().ok()).unwrap_or(0);
        let fields = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Self {
            status: if version.starts_with("HTTP/1.") {
                status
            } else {
                0
            },
            reason: first.next().unwrap_or("").to_owned(),
            fields,
            raw,
        }
    }

    /// The value of a field, by its name in any case; several are joined by a bar.
    pub fn field(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join("|"))
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether it was cut short.
    pub fn is_cut(&self) -> bool {
        matches!(self.end, End::Cut(_))
    }

    /// Itself, when it is a whole answer with that status.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.head.status, status, "{self:?}");
        assert_eq!(self.end, End::Complete, "{self:?}");
        self
    }

    /// Itself, when it is a whole error answer with that status which says why three times: in its
    /// reason phrase, in `Proxy-Status` and in its body; and each time `part`.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn refusal(self, status: u16, part: &str) -> Self {
        let answer = self.expect(status);
        let reason = &answer.head.reason;
        assert!(
            reason.contains(part),
            "{part:?} not in the reason phrase {reason:?}"
        );
        let body = answer.text();
        assert_eq!(body.trim_end(), reason, "the body is the reason");
        let proxy_status = answer.head.field("proxy-status").unwrap_or_default();
        assert!(
            proxy_status.contains(part),
            "{part:?} not in Proxy-Status {proxy_status:?}"
        );
        answer
    }
}
